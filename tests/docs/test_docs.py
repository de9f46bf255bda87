"""What the documentation shows can be typed, built and run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from harness.cli.main import app
from harness.config import build, load, make
from harness.evaluation.run import Evaluation, evaluate
from harness.judges.stored import StoredJudge
from harness.training.spec import TrainSpec
from harness.types import Comparison, Message, Prompt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = ROOT / "docs/examples"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def blocks(kind):
    """Return (page, text) of every block of a kind."""
    return [
        (page.relative_to(ROOT).as_posix(), text)
        for page in PAGES
        for language, text in BLOCK.findall(page.read_text())
        if language == kind
    ]


def commands():
    """Return every harness command that a page shows."""
    found = []
    for page, text in blocks("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            if line.startswith("harness "):
                found.append(pytest.param(line.split("#")[0], id=f"{page}: {line[:50]}"))
    return found


@pytest.mark.parametrize("line", commands())
def test_every_command_that_is_shown_can_be_typed(line):
    command, arguments = typer.main.get_command(app), shlex.split(line.replace(" > ", " "))[1:]
    name = "harness"
    while hasattr(command, "commands"):
        name = arguments.pop(0)
        command = command.commands[name]
    if "table.md" in arguments:
        arguments.remove("table.md")
    command.make_context(name, arguments)  # refuses what it does not know


@pytest.fixture
def _examples(tmp_path, monkeypatch):
    """The examples can be imported, and the configurations that the page shows are there."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    shown = [text for page, text in blocks("yaml") if page == "docs/extending.md"]
    names = ("train/hinge", "oracle/shorter", "engine/upper", "judge/mine", "bench/spelling")
    for name, text in zip(names, shown, strict=True):
        path = tmp_path / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.usefixtures("_examples")
def test_the_configurations_that_are_shown_are_built():
    spec = make(TrainSpec, load("train", "hinge"))
    assert (spec.method, spec.objective.beta) == ("SLiC", 0.1)
    assert build(load("judge", "mine")).model == "my-judge"
    oracle = build(load("oracle", "shorter"))
    prompt = Prompt("p", (Message("user", "?"),))
    # one word against three: 3 / (1 + 3)
    assert oracle.compare([Comparison(prompt, "a", "a b c")], lambda _: None) == [0.75]


@pytest.mark.usefixtures("_examples")
def test_the_objective_that_is_shown_is_a_hinge():
    import torch

    from harness.protocols import Logps, PairBatch

    def logps(chosen, rejected):
        return Logps(torch.tensor([chosen]), torch.tensor([rejected]))

    half = logps(0.5, 0.5)
    hinge = make(TrainSpec, load("train", "hinge")).objective
    reference = {"reference": logps(0.0, 0.0)}
    batch = PairBatch(logps(3.0, 1.0), reference, logps(1.0, 1.0), torch.tensor([1.0]), half)
    assert hinge(batch).item() == pytest.approx(1 - 0.1 * (3 - 1))


@pytest.mark.usefixtures("_examples")
def test_the_benchmark_engine_and_judge_that_are_shown_run(workspace):
    import coin

    source = {"use": "harness.training.sources:Pretrained", "path": "none"}
    spec = load("bench", "spelling") | {"baseline": {**source, "name": "base"}}
    evaluation = Evaluation(
        build(spec),
        StoredJudge(coin.Coin(label="A>B"), workspace.verdicts),
        policy=build({**source, "name": "me"}),
        engine=build(load("engine", "upper")),
    )
    result = evaluate(evaluation, workspace)
    assert result.score.estimates["win_rate"].value == 100
    assert (result.label, result.judges_served, result.asked) == ("me", ("coin",), 3)


def test_every_yaml_block_is_yaml():
    for _, text in blocks("yaml"):
        assert isinstance(yaml.safe_load(text), dict)


def test_the_pages_are_built(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--compat" in (tmp_path / "commands/score/index.html").read_text()
    assert "Hinge" in (tmp_path / "extending/index.html").read_text()
    for html in tmp_path.rglob("*.html"):
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', html.read_text())
        assert fetched == []
