"""A device stage in a child process: its progress, its errors and its death are reported."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.core.stages import Stage, StageStore
from harness.errors import CheckError, HarnessError, StoreError


def write(out, inputs, track):
    with track("counting", 2) as advance:
        advance(1)
        advance(1)
    (out / "process").write_text(str(os.getpid()))


def report(out, inputs, track):
    with track("training", 2) as advance:
        advance(1)
        advance.add_cost(0.5)
        advance.show_status("loss 0.69")
    (out / "done").touch()


def refuse(out, inputs, track):
    raise CheckError("it does not hold")


def fill(out, inputs, track):
    raise OSError(errno.ENOSPC, "No space left on device")


def stumble(out, inputs, track):
    raise ValueError("no such day")


def die(out, inputs, track):
    os.kill(os.getpid(), signal.SIGKILL)


def linger(out, inputs, track):
    (out.parent.parent / "pid").write_text(str(os.getpid()))
    time.sleep(120)


def run_linger(root: Path) -> None:
    StageStore(root, isolate=True).materialize(Stage("linger", 1, {}, {}, linger, device=True))


def test_the_process_ends_with_its_parent_however_that_ends(tmp_path):
    parent = multiprocessing.get_context("spawn").Process(target=run_linger, args=(tmp_path / "s",))
    parent.start()
    events = tmp_path / "pid"
    wait_for(lambda: events.exists() and events.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    wait_for(lambda: not running(int(events.read_text())))


def running(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stage(make, *, device: bool = True) -> Stage:
    return Stage(make.__name__, 1, {}, {}, make, device=device)


def test_only_device_stages_have_a_process_of_their_own(tmp_path):
    store = StageStore(tmp_path, isolate=True)
    own, shared = (
        int((Path(store.materialize(s).path) / "process").read_text())
        for s in (stage(write), Stage("other", 1, {}, {}, write))
    )
    assert own != os.getpid()
    assert shared == os.getpid()


def test_progress_is_reported_across_the_processes(tmp_path):
    events: list[object] = []

    @contextmanager
    def track(label: str, total: int) -> Iterator[object]:
        events.append((label, total))
        yield events.append
        events.append("closed")

    StageStore(tmp_path, track, isolate=True).materialize(stage(write))
    assert events == [("counting", 2), 1, 1, "closed"]


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (refuse, CheckError, "it does not hold"),
        (fill, StoreError, "no space left"),
        (die, HarnessError, r"exit code -9.*out of memory\?"),
        (stumble, HarnessError, "^ValueError: no such day; its traceback is above$"),
    ],
)
def test_what_goes_wrong_there_is_reported_here_and_leaves_nothing(tmp_path, make, kind, message):
    with pytest.raises(kind, match=message):
        StageStore(tmp_path, isolate=True).materialize(stage(make))
    assert [p.name for p in tmp_path.iterdir()] == [".locks"]


class Bar:
    """What a display is given."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, count: int) -> None:
        self.calls.append(count)

    def add_cost(self, dollars: float) -> None:
        self.calls.append(dollars)

    def show_status(self, text: str) -> None:
        self.calls.append(text)


def test_costs_and_status_cross_to_the_parent_too(tmp_path):
    bar = Bar()

    @contextmanager
    def track(label, total) -> Iterator[Bar]:
        yield bar

    store = StageStore(tmp_path / "s", track, isolate=True)
    store.materialize(Stage("report", 1, {}, {}, report, device=True))
    assert bar.calls == [1, 0.5, "loss 0.69"]
