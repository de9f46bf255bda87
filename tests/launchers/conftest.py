"""A small method, and what one process makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core import config
from harness.core.stages import read_manifest
from harness.core.workspace import Workspace
from harness.training import schedule
from harness.training.spec import TrainSpec
from tests.conftest import tiny
from tests.launchers import gangs

SMALL = ("prompts.count=16", "samples=4", "iterations=1", "optimiser.epochs=1", "optimiser.batch=4")
MORTAL = {"use": "tests.launchers.doing:Mortal"}


def method(*overrides: str, **keys) -> TrainSpec:
    data = config.load("train", "toy/inpo", (*SMALL, *overrides))
    return config.construct(TrainSpec, {**data, "policy": tiny(), "engine": MORTAL, **keys})


def digests(workspace: Workspace, spec: TrainSpec) -> dict[str, str]:
    """Return what identifies each stage's result, by its name."""
    stages = schedule.plan(spec, workspace)
    return {stage.name: read_manifest(path)["digest"] for stage, path in stages if path}


@pytest.fixture(scope="session")
def alone(tmp_path_factory) -> Workspace:
    """Where one process of this machine ran the method, all prompts in one piece."""
    workspace = Workspace(tmp_path_factory.mktemp("alone"))
    schedule.train(method(), workspace, "alone")
    return workspace


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    place = tmp_path / "diary"
    place.mkdir()
    return place


@pytest.fixture(scope="session")
def by_one(tmp_path_factory) -> Path:
    """The workspace in which one process of this machine has trained the gangs' method."""
    return gangs.by_one(tmp_path_factory.mktemp("by-one"))
