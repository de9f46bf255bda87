"""A workspace with two small runs that share their first samples, graded on a toy benchmark."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import harness as ph
from harness.judges.toy_server import serving
from harness.toy import judge as toy_judge
from tests.conftest import tiny

SMALL = {
    "prompts.count": 16,
    "samples": 4,
    "iterations": 2,
    "optimiser.batch": 8,
    "optimiser.learning_rate": 5e-3,
    "policy": tiny(),
}
BENCH = {"count": 6, "baseline": tiny(1)}
"""Overrides of a toy benchmark: few prompts, and a baseline that no run starts from."""


def train(name: str, workspace: Path, **overrides: object) -> ph.TrainingRun:
    settings = {**SMALL, **{key.replace("__", "."): v for key, v in overrides.items()}}
    return ph.train("toy/inpo", settings, name=name, workspace=workspace)


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `a` and `b` with another η; only `a` is graded. Copy it before changing it."""
    root = tmp_path_factory.mktemp("two-runs") / "runs"
    train("a", root)
    train("b", root, objective__eta=0.9)
    with serving(toy_judge.grade, model=toy_judge.MODEL) as url:
        judge = ph.judge("toy", base_url=url)
        ph.evaluate("toy-labels", run="a", judge=judge, overrides=BENCH, workspace=root)
    return root


@pytest.fixture
def runs_copy(two_runs: Path, tmp_path: Path) -> Path:
    """A copy of that workspace, which a test may change."""
    shutil.copytree(two_runs, tmp_path / "runs")
    return tmp_path / "runs"
