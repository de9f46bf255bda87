"""`harness arena`: plan, formats, errors in a line."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import harness as ph
from harness.cli.main import app
from harness.errors import ConfigError


@pytest.fixture
def arguments(tmp_path):
    prompts = ph.benchmark("toy-weighted", {"count": 8}).prompts()
    files = []
    for n, name in enumerate(("short", "long"), 1):
        rows = [{"instruction": p.text, "output": "red " * n, "generator": name} for p in prompts]
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(rows))
    sources = ["arena", *map(str, files), "--prompts", "toy-weighted", "--set", "count=8"]
    return [*sources, "--workspace", str(tmp_path / "runs"), "--rounds", "100"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_plan_asks_nothing(arguments, tmp_path):
    text = run(*arguments, "--oracle", "toy", "--dry-run")
    assert "2 contestants answer 8 prompts; 1 pairs are compared in both orders: 16 comp" in text
    plan = json.loads(run(*arguments, "--judge", "toy", "--dry-run", "--json"))
    assert plan["comparisons"] == 16
    assert plan["dollars"] is not None
    assert not (tmp_path / "runs" / "arenas").exists()


def test_every_format_comes_from_the_same_comparisons(arguments, tmp_path):
    arguments += ["--oracle", "toy"]
    assert "arena matrix, toy-weighted, by oracle toy" in run(*arguments)
    assert r"\label{tab:arena-matrix}" in run(*arguments, "--format", "latex")
    assert json.loads(run(*arguments, "--json"))["contestants"] == ["short", "long"]
    page = tmp_path / "arena.html"
    run(*arguments, "--format", "html", "--to", str(page))
    assert 'class="heat"' in page.read_text()
    assert "short" in run(*arguments, "--format", "csv")


def test_without_an_oracle_and_a_judge_it_says_what_to_name(arguments):
    with pytest.raises(ConfigError, match="--oracle NAME or --judge NAME"):
        run(*arguments)
