"""Device work in a child process, so that the accelerator's memory is free when it ends.

The child is spawned, not forked; it reports its progress, and its error, through a pipe.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.core.terminal import printable_lines
from harness.errors import HarnessError, first_line
from harness.types import Advance, CostDisplay, StageFunction, StatusDisplay, Track

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
"""The C library; opened at import, since a process just after its fork must not wait for locks."""


@dataclass(frozen=True)
class ChildOutcome:
    """The last message of a child."""

    error: BaseException | None


def run_isolated(
    function: StageFunction, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Run `function(out, inputs, track)` in a fresh process.

    Args:
        function: can be imported by its name.
        out: an empty directory for the result.
        inputs: the paths of the inputs by name.
        track: shows the progress that the child reports.

    Raises:
        HarnessError: the process was killed, or the function raised it.
        OSError: the function raised it.
    """
    context = multiprocessing.get_context("spawn")
    parent_end, child_end = context.Pipe()
    process = context.Process(
        target=_run_child, args=(child_end, function, out, inputs), daemon=True
    )
    process.start()
    child_end.close()
    try:
        outcome = _listen(parent_end, track)
    except KeyboardInterrupt:  # the child ignores it, and has nothing to lose
        process.terminate()
        raise
    finally:
        process.join(10)
        process.terminate()
    if outcome is None:
        raise _lost_error(out.name, process.exitcode)
    if outcome.error is not None:
        raise outcome.error


def _lost_error(name: str, code: int | None) -> HarnessError:
    is_killed = code == -signal.SIGKILL
    why = "was killed: out of memory? Lower the micro-batch" if is_killed else "see its last lines"
    return HarnessError(
        f"the process of {name} ended without a result (exit code {code}): {why}, and run the same "
        "command again"
    )


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, even by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _listen(pipe: Connection, track: Track) -> ChildOutcome | None:
    """Show the child's progress until its last message; None if it ended without one."""
    with ExitStack() as stack:
        bars: dict[int, Advance] = {}
        open_bars: dict[int, ExitStack] = {}
        while True:
            try:
                message: Any = pipe.recv()
            except EOFError:
                return None
            match message:
                case ChildOutcome():
                    return message
                case ("open", int(key), str(label), int(total)):
                    open_bars[key] = stack.enter_context(ExitStack())
                    bars[key] = open_bars[key].enter_context(track(label, total))
                case ("close", int(key)):
                    open_bars[key].close()
                case (str(kind), int(key), value):
                    _show(bars[key], kind, value)


def _show(bar: Advance, kind: str, value: Any) -> None:
    if kind == "advance":
        bar(int(value))
    elif kind == "cost" and isinstance(bar, CostDisplay):
        bar.add_cost(float(value))
    elif kind == "status" and isinstance(bar, StatusDisplay):
        bar.show_status(str(value))


def _run_child(
    pipe: Connection, function: StageFunction, out: Path, inputs: Mapping[str, str]
) -> None:
    _bind_to_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    error: BaseException | None = None
    try:
        function(out, inputs, _reporter(pipe))
    except HarnessError as raised:
        error = raised
    except OSError as raised:  # only the number of a full disk survives pickling
        error = OSError(raised.errno, raised.strerror, raised.filename)
    except Exception as raised:  # noqa: BLE001  it may not survive pickling; its traceback does not
        sys.stderr.write(printable_lines(traceback.format_exc()))
        kind = type(raised).__name__
        error = HarnessError(f"{kind}: {first_line(raised)}; its traceback is above")
    pipe.send(ChildOutcome(error))


def _bind_to_parent() -> None:
    """End with the parent, even if it ended before the kernel could be asked."""
    die_with_parent()
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        sys.exit(1)


@dataclass(frozen=True)
class _PipedAdvance:
    """Sends progress, costs and status to the parent."""

    pipe: Connection
    key: int

    def __call__(self, count: int) -> None:
        self.pipe.send(("advance", self.key, count))

    def add_cost(self, dollars: float) -> None:
        self.pipe.send(("cost", self.key, float(dollars)))

    def show_status(self, text: str) -> None:
        self.pipe.send(("status", self.key, text))


def _reporter(pipe: Connection) -> Track:
    keys = iter(range(1_000_000))

    @contextmanager
    def track(label: str, total: int) -> Iterator[Advance]:
        key = next(keys)
        pipe.send(("open", key, label, total))
        yield _PipedAdvance(pipe, key)
        pipe.send(("close", key))

    return track
