"""The documentation's configurations, examples and pages are built."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from harness import errors
from harness.core.config import build, construct, load
from harness.evaluation.run import Evaluation, evaluate
from harness.judges.cached import CachedJudge
from harness.training.spec import TrainSpec
from harness.types import Comparison, Message, Prompt
from tests.docs import pages
from tests.docs.pages import ROOT


@pytest.mark.parametrize("shown", pages.configurations(), ids=lambda c: f"{c.kind}/{c.name}")
def test_a_configuration_that_is_shown_is_built(shown, reader):
    data = load(shown.kind, shown.name)
    assert construct(TrainSpec, data) if shown.kind == "train" else build(data)


@pytest.mark.usefixtures("reader")
def test_the_examples_are_what_their_configurations_say():
    spec = construct(TrainSpec, load("train", "hinge"))
    assert (spec.method, spec.objective.beta) == ("SLiC", 0.1)
    assert build(load("judge", "mine")).model == "my-judge"
    oracle = build(load("oracle", "shorter"))
    prompt = Prompt("p", (Message("user", "?"),))
    # one word against three: 3 / (1 + 3)
    assert oracle.compare([Comparison(prompt, "a", "a b c")], lambda _: None) == [0.75]


@pytest.mark.usefixtures("reader")
def test_the_objective_that_is_shown_is_a_hinge():
    import torch

    from harness.protocols import Logps, PairBatch

    def logps(chosen, rejected):
        return Logps(torch.tensor([chosen]), torch.tensor([rejected]))

    half = logps(0.5, 0.5)
    hinge = construct(TrainSpec, load("train", "hinge")).objective
    reference = {"reference": logps(0.0, 0.0)}
    batch = PairBatch(logps(3.0, 1.0), reference, logps(1.0, 1.0), torch.tensor([1.0]), half)
    assert hinge(batch).item() == pytest.approx(1 - 0.1 * (3 - 1))


@pytest.mark.usefixtures("reader")
def test_the_benchmark_engine_and_judge_that_are_shown_run(workspace):
    import coin

    source = {"use": "harness.training.sources:Pretrained", "path": "none"}
    spec = load("bench", "spelling") | {"baseline": {**source, "name": "base"}}
    evaluation = Evaluation(
        build(spec),
        CachedJudge(client=coin.Coin(label="A>B"), store=workspace.verdicts),
        policy=build({**source, "name": "me"}),
        engine=build(load("engine", "upper")),
    )
    result = evaluate(evaluation, workspace)
    assert result.score.estimates["win_rate"].value == 100
    assert (result.label, result.judges_served, result.new_requests) == ("me", ("coin",), 3)


def test_the_pages_are_built(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--compat" in (tmp_path / "commands/score/index.html").read_text()
    extending = (tmp_path / "extending/index.html").read_text()
    for example in (ROOT / "docs/examples").glob("*.py"):
        assert example.read_text().splitlines()[0].strip('"') in re.sub(r"<[^>]+>", "", extending)
    for html in tmp_path.rglob("*.html"):
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', html.read_text())
        assert fetched == []


def test_the_exit_codes_are_the_errors_own():
    page = (ROOT / "docs/judging.md").read_text("utf-8")
    documented = {name: int(code) for code, name in re.findall(r"\| (\d+) \| `(\w+)` \|", page)}
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert documented == {kind.__name__: kind.exit_code for kind in kinds}


def test_every_judge_that_ships_is_documented():
    page = (ROOT / "docs/judging.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(\w[\w.-]+)` \|", page, re.MULTILINE))
    assert documented == {path.stem for path in (ROOT / "configs/judge").glob("*.yaml")}


def test_the_architecture_page_shows_the_code_as_it_is():
    command = [sys.executable, str(ROOT / "docs/architecture.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
