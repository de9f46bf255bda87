"""`harness leaderboard` as it is typed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness import errors

FORMATS = ("rich", "md", "latex", "csv", "json", "html", "svg")


def leaderboard(cwd: Path, *arguments: str, seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "harness", "leaderboard", *arguments),
        cwd=cwd,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def twenty(file, tmp_path) -> Path:
    """A workspace with twenty results of 805 prompts."""
    rng = random.Random(0)
    for i in range(20):
        file(f"method {i}", [min(1.0, rng.random() + i / 80) for _ in range(805)])
    return tmp_path


def test_a_table_is_printed_without_heavy_packages(twenty):
    """What makes it a table in a second: torch, pandas and matplotlib take seconds to import."""
    code = (
        "import sys; from typer.testing import CliRunner; from harness.cli.main import app; "
        "print(CliRunner().invoke(app, ['leaderboard']).stdout); "
        "print([n for n in ('torch', 'pandas', 'matplotlib', 'scipy.stats') if n in sys.modules])"
    )
    command = (sys.executable, "-c", code)
    process = subprocess.run(command, cwd=twenty, capture_output=True, text=True, check=True)
    assert "method 19" in process.stdout
    assert process.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_the_same_to_the_byte(twenty, form):
    asked = ("--format", form, "--published", "all", "--wide", "--baseline", "method 3")
    first, second = (leaderboard(twenty, *asked, seed=seed) for seed in ("1", "4711"))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert "method 19" in first.stdout.replace("&#160;", " ")


def test_a_table_is_written_whole_printed_and_checked(twenty):
    process = leaderboard(
        twenty, "--format", "latex", "--sort", "-win_rate", "--to", "out/table.tex"
    )
    assert (process.returncode, process.stdout) == (0, "")
    checked = leaderboard(twenty, "--check", "out/table.tex", "--json")
    # 20 lines: a figure with its bounds, a mean length, n judged of n asked
    assert json.loads(checked.stdout) == {"tables": 1, "numbers": 20 * 6}
    path = twenty / "out" / "table.tex"
    path.write_text(path.read_text().replace("805 of 805", "804 of 805", 1))
    changed = leaderboard(twenty, "--check", "out/table.tex")
    assert changed.returncode == errors.CheckError.exit_code
    assert "804 is 805" in changed.stderr


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("--columns", "win_rte"), errors.ConfigError, "did you mean 'win_rate'?"),
        (("--bench", "toyy"), errors.ConfigError, "did you mean 'toy'?"),
        (("--baseline", "nobody"), errors.ConfigError, "no measured method called 'nobody'"),
        (("--paper", "inpoo"), errors.ConfigError, "did you mean 'inpo'?"),
        (("--template", "no.tex"), errors.InputError, "cannot read the template"),
        (("--check", "no.tex"), errors.InputError, "cannot read no.tex"),
        (("--to", "runs/results"), errors.StoreError, "cannot write"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(file, tmp_path, arguments, kind, message):
    file()
    before = sorted(tmp_path.rglob("*"))
    process = leaderboard(tmp_path, *arguments)
    assert process.returncode == kind.exit_code, process.stderr
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_result_without_verdicts_is_reported_of_beside_the_table(file, tmp_path):
    file("good")
    file("empty", score={"estimates": {}, "counts": {}, "items": [], "notes": []})
    process = leaderboard(tmp_path)
    assert "good" in process.stdout
    assert process.stderr == "toy/empty.json holds no verdicts and is left out\n"


def test_the_paper_is_printed_without_any_result(tmp_path):
    process = leaderboard(tmp_path, "--paper", "inpo")
    assert process.returncode == 0
    assert "42.6" in process.stdout
    assert not (tmp_path / "runs").exists()


def test_two_hundred_results_stand_beside_published_ones(file, tmp_path):
    rng = random.Random(1)
    for i in range(200):
        file(f"method {i:03}", [rng.random() for _ in range(805 - i % 3)])
    process = leaderboard(tmp_path, "--published", "all", "--format", "csv")
    assert process.stdout.count("method ") == 200
