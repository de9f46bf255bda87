"""What the tests of the command line share: one quick demo, one short run, commands in-process."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pytest

from harness.cli.main import main

HARNESS = (sys.executable, "-m", "harness")
QUICK = ("--set", "prompts.count=16", "--set", "policy.texts.count=192", "--set", "iterations=1")
"""Overrides of toy/inpo: a run of seconds."""


def start_demo(workspace: Path, *options: str, threads: int = 1) -> subprocess.Popen[str]:
    command = (*HARNESS, "demo", "--json", "--workspace", str(workspace), *options)
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        start_new_session=True,
    )


def finish_demo(process: subprocess.Popen[str]) -> str:
    try:
        out, err = process.communicate(timeout=540)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0, err[-2000:]
    return out


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file: xdist's workers share what is created under it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def session_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this session, the same for all of xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@dataclass(frozen=True)
class DemoRun:
    """A finished `harness demo --quick`. Copy its workspace before changing it."""

    workspace: str
    tables: str
    """What it printed."""
    seconds: float


@pytest.fixture(scope="session")
def quick_demo(session_directory: Path) -> DemoRun:
    """The quick demo, run once a session."""
    record = session_directory / "quick-demo.json"
    with locked(session_directory / "quick-demo.lock"):
        if not record.exists():
            workspace, start = session_directory / "quick-demo", time.monotonic()
            tables = finish_demo(start_demo(workspace, "--quick"))
            demo = DemoRun(str(workspace), tables, time.monotonic() - start)
            record.write_text(json.dumps(asdict(demo)))
    return DemoRun(**json.loads(record.read_text()))


@pytest.fixture(scope="session")
def short_run(session_directory: Path) -> Path:
    """A directory in which `harness train toy/inpo` was run with QUICK, once a session.

    A run's record holds absolute paths: a copy can be trained in, but not evaluated.
    """
    directory, done = session_directory / "short-run", session_directory / "short-run.done"
    with locked(session_directory / "short-run.lock"), pytest.MonkeyPatch.context() as patch:
        if not done.exists():
            directory.mkdir(exist_ok=True)
            patch.chdir(directory)
            assert run_here(patch, "train", "toy/inpo", *QUICK).returncode == 0
            done.touch()
    return directory


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process and in the test's own directory, as a shell would."""
    monkeypatch.chdir(tmp_path)
    return partial(run_here, monkeypatch)


def run_here(patch: pytest.MonkeyPatch, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in this process and in its directory."""
    patch.setattr(sys, "argv", ["harness", *arguments])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stop:
        main()
    return subprocess.CompletedProcess(
        arguments, int(stop.value.code or 0), out.getvalue(), err.getvalue()
    )
