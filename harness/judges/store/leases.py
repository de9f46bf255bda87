"""Who asks a judge: a process, known so well that others can tell when it has died."""

from __future__ import annotations

import functools
import os
import platform
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LEASE_SECONDS = 900.0
"""How long a process on another machine is believed to live after its last sign of life."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One who asks."""

    id: str
    host: str
    """The machine, since it was started; empty for a batch at the judge's own end."""
    pid: int
    started: str
    """When the process began, as its machine counts; empty where that is not told."""

    def row(self) -> tuple[str, str, int, str, float]:
        """Return a row of the table `owner`."""
        return (self.id, self.host, self.pid, self.started, time.time())


def new_owner() -> Owner:
    """Return a new owner in this process: every run is one of its own."""
    return Owner(uuid.uuid4().hex, host_id(), os.getpid(), process_start(os.getpid()) or "")


def is_alive(host: str, pid: int, started: str, heartbeat: float) -> bool:
    """Say whether an owner still asks.

    On this machine its process is looked for; one elsewhere lives while it gives signs of life; a
    batch (without a place) lives until it is fetched.
    """
    if not host:
        return True
    if host != host_id():
        return time.time() - heartbeat < LEASE_SECONDS
    if started:
        return process_start(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def process_start(pid: int) -> str | None:
    """Return when a process began, in its machine's own count; None: it is not there."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        state, *rest = stat.rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    return None


@functools.cache
def host_id() -> str:
    """Return what tells this machine, since it was started, from every other one."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)
