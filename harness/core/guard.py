"""A program that runs a command and ends it, with all its descendants, when its parent ends.

`python -I guard.py COMMAND...`: its standard input is a pipe that the parent holds open. However
the parent ends, also by SIGKILL, the kernel closes the pipe. It imports nothing of the harness, so
that it starts at once.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

DEATH_SIGNAL, CHILD_SUBREAPER = 1, 36
"""Of prctl, on Linux: a signal at the parent's end; orphaned descendants become its children."""
TERM_SECONDS, KILL_SECONDS, LOOK_SECONDS = 5.0, 3.0, 0.1


def main(command: list[str]) -> int:
    """Run a command until it ends or standard input is closed; return its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    libc = ctypes.CDLL(None)
    if sys.platform == "linux":
        libc.prctl(CHILD_SUBREAPER, 1)

    def end_with_guard() -> None:
        if sys.platform == "linux":
            libc.prctl(DEATH_SIGNAL, signal.SIGKILL)

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_guard)
    code: int | None = None
    while code is None and not _is_closed(sys.stdin.fileno()):
        code = _reap(child.pid)
    _end_descendants()
    return 0 if code is None else code


def _is_closed(descriptor: int) -> bool:
    """Say whether a pipe's other end is closed, after a short wait."""
    readable, _, _ = select.select([descriptor], [], [], LOOK_SECONDS)
    return bool(readable) and not os.read(descriptor, 1)


def _reap(wanted: int) -> int | None:
    """Collect the children that have ended; return the exit code of one of them, if it has."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == wanted:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _end_descendants() -> None:
    """Ask every descendant to end, and kill those that do not."""
    for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        deadline = time.monotonic() + seconds
        _send(number)
        while _descendants() and time.monotonic() < deadline:
            _reap(0)
            time.sleep(LOOK_SECONDS)
            if number == signal.SIGKILL:
                _send(number)


def _send(number: int) -> None:
    for pid in _descendants():
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _descendants() -> list[int]:
    """Return the processes below this one that have not ended (Linux only)."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    reached = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in reached} - reached:
        reached |= more
    return sorted(reached - {os.getpid()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
