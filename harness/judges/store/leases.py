"""Owners of claims: processes and batches, and whether they are still alive."""

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
"""How long a process on another host counts as alive after its last heartbeat, or while that lies
in the future, after it was first seen: the clocks of two hosts differ, or one was set back."""
BATCH_PREFIX = "batch-"
"""The beginning of the owner id of a batch."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process or a batch that claims requests."""

    id: str
    host: str
    """The machine since its last boot; empty for a batch."""
    pid: int
    started: str
    """The start time of the process in its machine's clock; empty where it is unknown."""

    def row(self) -> tuple[str, str, int, str, float]:
        """Return a row of the table `owner`, with a heartbeat of now."""
        return (self.id, self.host, self.pid, self.started, time.time())


def new_owner() -> Owner:
    """Return an owner for one run in this process."""
    return Owner(uuid.uuid4().hex, host_id(), os.getpid(), process_start(os.getpid()) or "")


def batch_owner(name: str) -> Owner:
    """Return a batch as an owner."""
    return Owner(name, "", 0, "")


def is_alive(host: str, pid: int, started: str, heartbeat: float) -> bool:
    """Say whether an owner still holds its claims.

    A process on this host is looked up, one on another host is alive while its heartbeat is recent,
    and a batch (no host) holds its claims until it is fetched.
    """
    if not host:
        return True
    if host != host_id():
        return _is_recent(heartbeat)
    if started:
        return process_start(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_recent(heartbeat: float) -> bool:
    if (age := time.time() - heartbeat) >= 0:
        return age < LEASE_SECONDS
    return time.monotonic() - _first_seen(heartbeat) < LEASE_SECONDS


@functools.lru_cache(maxsize=1024)
def _first_seen(heartbeat: float) -> float:
    """Return when this process first saw a heartbeat, in its own time."""
    return time.monotonic()


def process_start(pid: int) -> str | None:
    """Return the start time of a process in its machine's clock; None if there is no process."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        state, *rest = stat.rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    return None


@functools.cache
def host_id() -> str:
    """Return the name of this machine, its boot and its PID namespace."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)
