"""A process of its own for whoever takes the accelerator, so that its memory comes back.

The child is started fresh (spawn), reports its progress over a pipe, and hands its error back.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.types import Advance, StageFunction, Track

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
"""The C library; opened here, since a process that has just been forked must not wait for locks."""


@dataclass(frozen=True)
class ChildOutcome:
    """A child's last word."""

    error: BaseException | None


def run_isolated(
    function: StageFunction, out: Path, inputs: Mapping[str, str], track: Track
) -> None:
    """Run `make(out, inputs, track)` in a fresh process; `make` must be importable by name.

    Raises:
        HarnessError: the process was killed; or whatever `make` raised.
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
    finally:
        process.join(10)
        process.terminate()
    if outcome is None:
        raise HarnessError(
            f"the process of {out.name} ended without a result (exit code {process.exitcode}): "
            "out of memory? Lower the micro-batch, and run the same command again"
        )
    if outcome.error is not None:
        raise outcome.error


def die_with_parent() -> None:
    """Have the kernel end this process with its parent, even by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _listen(pipe: Connection, track: Track) -> ChildOutcome | None:
    """Show the child's progress until its last word; None where it ended without one."""
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
                case ("advance", int(key), int(count)):
                    bars[key](count)
                case ("close", int(key)):
                    open_bars[key].close()


def _run_child(
    pipe: Connection, function: StageFunction, out: Path, inputs: Mapping[str, str]
) -> None:
    _bind_to_parent()
    error: BaseException | None = None
    try:
        function(out, inputs, _reporter(pipe))
    except HarnessError as raised:
        error = raised
    except OSError as raised:  # a full disk is told by its number
        error = OSError(raised.errno, raised.strerror, raised.filename)
    pipe.send(ChildOutcome(error))


def _bind_to_parent() -> None:
    """End with the parent, also where that was gone before this could be said."""
    die_with_parent()
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        sys.exit(1)


def _reporter(pipe: Connection) -> Track:
    keys = iter(range(1_000_000))

    @contextmanager
    def track(label: str, total: int) -> Iterator[Advance]:
        key = next(keys)
        pipe.send(("open", key, label, total))
        yield lambda count: pipe.send(("advance", key, count))
        pipe.send(("close", key))

    return track
