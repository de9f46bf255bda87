"""Machines that are processes of this one: each runs torchrun with the same command."""

from __future__ import annotations

import glob
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from harness.core import config
from harness.core.workspace import Workspace
from harness.training import schedule, tracking
from harness.training.spec import TrainSpec
from tests.conftest import tiny

ROOT = Path(__file__).parents[2]
SIZES = {
    "ref": "train/toy/inpo",
    "prompts": {"use": "harness.training.sources:ToyPrompts", "count": 24},
    "samples": 4,
    "iterations": 1,
    "optimiser": {
        "learning_rate": 2e-3,
        "epochs": 10,
        "batch": 8,
        "micro_tokens": 64,
        "checkpoint_minutes": 0,
    },
}
"""24 prompts, steps of 8 pairs at most in packs of 64 tokens; a checkpoint after each step."""


def method(folder: Path, launcher: dict, **changes: object) -> Path:
    """Write a method that two cores train in seconds."""
    path = folder / "method.yaml"
    policy = config.to_data(tiny())
    data = config.merge({**SIZES, "policy": policy, "launcher": launcher}, changes)
    path.write_text(json.dumps(data))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Machines:
    """Two machines of one process each, or one of several, that train into a workspace."""

    def __init__(self, path: Path, workspace: Path, machines: int = 2) -> None:
        self.workspace = workspace
        meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}")
        shape = ("--nnodes", str(machines), "--nproc-per-node", str(2 // machines))
        command = ("-m", "harness", "train", str(path), "--workspace", str(workspace))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", *shape, *meeting, *command],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(machines)
        ]

    def ended(self, seconds: float = 240) -> tuple[list[int], list[str]]:
        """Return the exit codes and what was written; nobody is left behind."""
        try:
            told = [process.communicate(timeout=seconds)[0] for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [process.returncode for process in self.processes], told

    def kill(self, rank: int) -> None:
        """Kill the process of a rank that serves or leads."""
        os.kill(process_of(self.workspace, rank), signal.SIGKILL)


def process_of(workspace: Path, rank: int, module: str = "harness") -> int:
    """Return the id of the process of a rank that runs a module on something in a workspace."""
    for found in glob.glob("/proc/[0-9]*"):
        try:
            words = Path(found, "cmdline").read_bytes().split(b"\0")
            variables = Path(found, "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        here = any(word.startswith(str(workspace).encode()) for word in words)
        if here and module.encode() in words and f"RANK={rank}".encode() in variables:
            return int(Path(found).name)
    raise AssertionError(f"no process has rank {rank}")


def wait_for_step(workspace: Path, step: int, processes: Sequence[subprocess.Popen]) -> None:
    """Wait until a training has done so many steps."""
    deadline = time.monotonic() + 240
    while steps_done(workspace) < step:
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def steps_done(workspace: Path) -> int:
    paths = workspace.glob("stages/.scratch/optimise-*/log.jsonl")
    return max((row["step"] for path in paths for row in tracking.read_rows(path)), default=0)


def by_one(folder: Path) -> Path:
    """Train the method by one process of one thread, as the machines' are; return its workspace."""
    path = method(folder, {"ref": "launcher/local"})
    spec = config.construct(TrainSpec, config.load("train", str(path)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        schedule.train(spec, Workspace(folder / "runs"), "method")
    finally:
        torch.set_num_threads(threads)
    return folder / "runs"


def stage(workspace: Path, name: str) -> Path:
    (found,) = workspace.glob(f"stages/{name}-*")
    return found


def apart(one: Path, two: Path) -> float:
    """Return the largest difference between the weights that two workspaces hold."""
    left, right = (load_file(stage(w, "optimise") / "model.safetensors") for w in (one, two))
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def names(workspace: Path) -> list[str]:
    """Return what the stages of a workspace are called, by what went into them."""
    return sorted(path.name for path in workspace.glob("stages/*-*"))
