"""A sealed store: what the last process left is what the next one finds, to the last byte.

While a store is open each of its users holds a shared lock beside it, and there is no seal. The
last one to close it writes the sha256 of the file. A file without a seal was in use by a process
that was killed: its records have their own checksums, and SQLite's log holds what was committed.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from harness.core.io import report_disk_errors, sha256, write_atomically
from harness.errors import StoreError


def lock_of(path: Path) -> Path:
    """Return the file whose lock the users of a store hold."""
    return path.with_name(f"{path.name}.lock")


def seal_of(path: Path) -> Path:
    """Return the file that holds a store's seal."""
    return path.with_name(f"{path.name}.seal")


@contextmanager
def unsealed(path: Path) -> Iterator[None]:
    """Break a store's seal, and seal it again if nobody else uses it in the end."""
    with report_disk_errors(path):
        lock = open(lock_of(path), "ab")  # noqa: SIM115
    with lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        seal_of(path).unlink(missing_ok=True)
        try:
            yield
        finally:
            if _lock_exclusively(lock):
                write_seal(path)


def write_seal(path: Path) -> None:
    """Write down what a closed store is made of; a full disk leaves it unsealed."""
    with suppress(OSError, StoreError):
        if path.is_file() and not log_of(path).exists():
            record = {"bytes": path.stat().st_size, "sha256": sha256(path)}
            write_atomically(seal_of(path), json.dumps(record) + "\n")


def log_of(path: Path) -> Path:
    """Return SQLite's write-ahead log; it is gone when the last process has closed the store."""
    return path.with_name(f"{path.name}-wal")


def seal_fault(path: Path) -> str | None:
    """Say what tells that a store is not as it was left; None: nothing, or there is no seal."""
    try:
        record = json.loads(seal_of(path).read_text(encoding="utf-8"))
        size, digest = int(record["bytes"]), str(record["sha256"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError):
        return f"{seal_of(path)} cannot be read"
    if path.stat().st_size != size:
        return f"the file has {path.stat().st_size} bytes and was left with {size}"
    return None if sha256(path) == digest else "the file is not as it was left: its sha256 differs"


@contextmanager
def exclusive_lock(path: Path) -> Iterator[bool]:
    """Hold a store against all others, where nobody uses it; yield whether that is so."""
    with open(lock_of(path), "ab") as lock:
        yield _lock_exclusively(lock)


def _lock_exclusively(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
