"""What the fault tests share: recorded judges with faults, and judges that count who asks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from harness.judges.toy_server import serving
from harness.types import Reply


@dataclass(frozen=True)
class Replay:
    """A running replay server."""

    url: str

    def stats(self):
        """Return how many requests of each kind there were."""
        with urllib.request.urlopen(self.url.removesuffix("v1") + "stats", timeout=30) as answer:
            return json.load(answer)["counts"]


@contextmanager
def running(shared, *options):
    folders = [shared / "replay" / name / "verdicts" for name in ("alpaca_eval", "arena_hard")]
    verdict_options = [part for folder in folders for part in ("--verdicts", str(folder))]
    command = [sys.executable, str(shared / "replay/judge_server.py"), *verdict_options, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Replay(process.stdout.readline().split()[-1])
        finally:
            process.kill()


@pytest.fixture
def replay(shared):
    """Start servers with AlpacaEval's and Arena-Hard's recorded verdicts."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(shared, *options))


@pytest.fixture(scope="module")
def replay_for_long(shared):
    """The same, for all tests of a module."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(running(shared, *options))


@dataclass
class Counting:
    """A judge that counts how often it was asked what, and answers with the last word."""

    latency: float = 0.0
    asked: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def grade(self, messages, request):
        with self.lock:
            self.asked[messages[-1].content] += 1
        time.sleep(self.latency)
        return Reply(messages[-1].content.split()[-1], None, "stop", "j", 100, 1)


@pytest.fixture
def counting():
    """Start judges that count."""
    with ExitStack() as stack:

        def start(latency=0.0):
            judge = Counting(latency)
            judge.url = stack.enter_context(serving(judge.grade, model="j"))
            return judge

        yield start


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def figure(request):
    """Tell a figure that was measured, on the screen of the whole run."""
    screen = request.config.pluginmanager.get_plugin("terminalreporter")

    def record(name, value):
        screen.write_line(f"\n{request.node.name}: {name} {value}")

    return record
