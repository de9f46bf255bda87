"""What one process trains, with which every launcher's result is compared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from harness.core.workspace import Workspace
from harness.training import schedule
from tests.launchers import small_runs

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves its workers on a busy machine


@pytest.fixture(scope="session")
def alone(tmp_path_factory, tiny_policy) -> Workspace:
    """The workspace in which one process ran the small spec, all prompts in one shard."""
    workspace = Workspace(tmp_path_factory.mktemp("alone"))
    schedule.train(small_runs.small_spec(tiny_policy), workspace, "alone")
    return workspace


@pytest.fixture(scope="session")
def by_one(tmp_path_factory, tiny_policy) -> Path:
    """The workspace in which one process of one thread trained the method of 15 steps."""
    directory = tmp_path_factory.mktemp("by-one")
    path = small_runs.write_method(directory, tiny_policy, {"ref": "launcher/local"})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        small_runs.train_method(path, directory / "runs")
    finally:
        torch.set_num_threads(threads)
    return directory / "runs"


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    directory = tmp_path / "diary"
    directory.mkdir()
    return directory
