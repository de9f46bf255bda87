"""Runs of a tiny policy that two cores train in seconds, and what their workspaces hold."""

from __future__ import annotations

import glob
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from harness.core import config
from harness.core.manifests import PROVENANCE, read_manifest
from harness.core.stages import TIMING
from harness.core.workspace import Workspace, read_log
from harness.training import schedule
from harness.training.spec import TrainSpec
from tests.launchers import killed_workers

ROOT = Path(__file__).parents[2]
SMALL = ("prompts.count=16", "samples=4", "iterations=1", "optimiser.epochs=1", "optimiser.batch=4")
SIZES = {
    "ref": "train/toy/inpo",
    "prompts": {"use": "harness.training.sources:ToyPrompts", "count": 24},
    "samples": 4,
    "iterations": 1,
    "optimiser": {
        "learning_rate": 2e-3,
        "epochs": 5,
        "batch": 8,
        "micro_tokens": 64,
        "checkpoint_minutes": 0,
    },
}
"""24 prompts, steps of 8 pairs at most in packs of 64 tokens; a checkpoint after each step."""


def small_spec(policy: str, *overrides: str, **keys) -> TrainSpec:
    """One epoch on 16 prompts, from the policy in a directory."""
    data = config.load("train", "toy/inpo", (*SMALL, *overrides))
    fixed = {"policy": pretrained(policy), "engine": killed_workers.ENGINE}
    return config.construct(TrainSpec, {**data, **fixed, **keys})


def pretrained(policy: str) -> dict[str, str]:
    return {"use": "harness.training.sources:Pretrained", "name": "tiny", "path": policy}


def write_method(directory: Path, policy: str, launcher: dict, **changes: object) -> Path:
    """Write a method of 15 steps that starts from the policy in a directory."""
    path = directory / "method.yaml"
    data = config.merge({**SIZES, "policy": pretrained(policy), "launcher": launcher}, changes)
    path.write_text(json.dumps(data))
    return path


def train_method(path: Path, workspace: Path) -> None:
    spec = config.construct(TrainSpec, config.load("train", str(path)))
    schedule.train(spec, Workspace(workspace), "method")


def start_command(path: Path, workspace: Path, environment=os.environ) -> subprocess.Popen[str]:
    """Start `harness train` in a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "train", str(path), "--workspace", str(workspace)],
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_of(workspace: Path, rank: int, module: str) -> int:
    """Return the id of the process of a rank that runs a module on something in a workspace."""
    for process in glob.glob("/proc/[0-9]*"):
        try:
            words = Path(process, "cmdline").read_bytes().split(b"\0")
            variables = Path(process, "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        in_workspace = any(word.startswith(str(workspace).encode()) for word in words)
        if in_workspace and module.encode() in words and f"RANK={rank}".encode() in variables:
            return int(Path(process).name)
    raise AssertionError(f"no process has rank {rank}")


def wait_for_step(workspace: Path, step: int, processes: Sequence[subprocess.Popen] = ()) -> None:
    """Wait until a training has done a step, while the processes run."""
    deadline = time.monotonic() + 240
    while steps_done(workspace) < step:
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def steps_done(workspace: Path) -> int:
    paths = workspace.glob("stages/.scratch/optimise-*/log.jsonl")
    return max((row["step"] for path in paths for row in read_log(path)), default=0)


def digests(workspace: Workspace, spec: TrainSpec) -> dict[str, str]:
    """Return what identifies each stage's result, by its name."""
    stages = schedule.plan(spec, workspace)
    return {stage.name: read_manifest(path)["digest"] for stage, path in stages if path}


def stage_path(workspace: Path, name: str) -> Path:
    (path,) = workspace.glob(f"stages/{name}-*")
    return path


def optimisation_log(workspace: Path) -> list[dict]:
    return read_log(stage_path(workspace, "optimise") / "log.jsonl")


def stage_names(workspace: Path) -> list[str]:
    return sorted(path.name for path in workspace.glob("stages/*-*"))


def training_processes(workspace: Path) -> int:
    """Return how many processes trained the policy of a workspace."""
    timing = stage_path(workspace, "optimise") / PROVENANCE / TIMING
    return json.loads(timing.read_text())["accelerators"]


def largest_difference(first: Path, second: Path) -> float:
    """Return the largest difference between the trained weights of two workspaces."""
    left, right = (
        load_file(stage_path(workspace, "optimise") / "model.safetensors")
        for workspace in (first, second)
    )
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)
