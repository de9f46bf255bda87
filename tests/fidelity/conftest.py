"""A server that replays the recorded verdicts of a judge."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Replay:
    """A running replay server."""

    url: str

    def stats(self) -> dict[str, int]:
        """Return the number of requests by kind."""
        address = self.url.removesuffix("v1") + "stats"
        with urllib.request.urlopen(address, timeout=10) as answer:
            counts: dict[str, int] = json.load(answer)["counts"]
        return counts


@contextmanager
def running(shared: Path, benchmark: str, *options: str) -> Iterator[Replay]:
    script, verdicts = shared / "replay/judge_server.py", shared / "replay" / benchmark / "verdicts"
    command = [sys.executable, str(script), "--verdicts", str(verdicts), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Replay(process.stdout.readline().split()[-1])
        finally:
            process.kill()


@pytest.fixture
def replay(shared: Path) -> Iterator[Callable[..., Replay]]:
    """Start replay servers: `replay("alpaca_eval", "--faults", "500=0.3", "--fault-once")`."""
    with ExitStack() as stack:
        yield lambda *args: stack.enter_context(running(shared, *args))


@pytest.fixture(scope="session")
def alpaca_replay(shared: Path) -> Iterator[Replay]:
    """The judge of AlpacaEval 2.0, without faults."""
    with running(shared, "alpaca_eval") as server:
        yield server
