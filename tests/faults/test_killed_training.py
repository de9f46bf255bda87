"""kill -9 at random moments of a training: it resumes, and ends in the same weights.

Three kills in `make test`; HARNESS_FAULTS=1 makes it twenty.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import config
from harness.core.manifests import read_manifest
from harness.core.stages import Stage, StageStore
from harness.training import tracking
from harness.training.schedule import Schedule
from harness.training.spec import TrainSpec
from tests.conftest import tiny

KILLS = 20 if os.environ.get("HARNESS_FAULTS") else 3
SETTINGS = (
    "prompts.count=48",
    "samples=4",
    "iterations=1",
    "optimiser.epochs=10",
    "optimiser.batch=8",
    "optimiser.learning_rate=5e-3",
    "optimiser.checkpoint_minutes=0",
)
PRELOADED = ["harness.training.optimisation", "transformers.models.llama.modeling_llama"]


def optimise_stage() -> Stage:
    data = config.load("train", "toy/inpo", SETTINGS)
    spec = config.construct(TrainSpec, {**data, "policy": tiny()})
    last = Schedule(spec).policies()[-1]
    assert isinstance(last, Stage)
    return last


def make(root: str) -> None:
    """The training that is killed."""
    import torch

    torch.set_num_threads(1)
    StageStore(Path(root)).materialize(optimise_stage())


def killed_at(root: Path, step: int, delay: float) -> bool:
    """Start the training in a process and kill it after a step; False if it had ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=make, args=(str(root),))
    process.start()
    while process.is_alive() and steps_done(root) < step:
        time.sleep(0.003)
    time.sleep(delay)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def steps_done(root: Path) -> int:
    return max(
        (
            row["step"]
            for path in root.glob(".scratch/optimise-*/log.jsonl")
            for row in tracking.read_log(path)
        ),
        default=0,
    )


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As many threads as the killed processes: sums in another order end in another last bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("whole")
    return root, StageStore(root).materialize(optimise_stage()).path


def test_a_killed_training_ends_in_the_same_weights_and_the_same_log(uninterrupted, tmp_path):
    _, path = uninterrupted
    rng = random.Random(KILLS)
    total = len(tracking.read_log(Path(path) / tracking.LOG))
    moments = sorted(rng.randint(1, total - 1) for _ in range(KILLS))
    assert all([killed_at(tmp_path, step, rng.uniform(0, 0.02)) for step in moments])
    artifact = StageStore(tmp_path).materialize(optimise_stage())
    assert read_manifest(Path(artifact.path))["digest"] == read_manifest(Path(path))["digest"]
    logs = [tracking.read_log(Path(p) / tracking.LOG) for p in (artifact.path, path)]
    assert logs[0] == logs[1]
    assert not list(tmp_path.glob(".scratch/optimise-*"))
