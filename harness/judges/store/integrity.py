"""Checksums: of every row, and of the whole file once the last process has closed it.

Row checksums and SQLite's own check cover the content, whoever used the file since. The checksum of
the file covers the rest (its header, unused space within pages). It lies beside the store, is
removed before the first change and written again when the last process closes the store: a command
that only reads never renews it.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.core.io import report_disk_errors, sha256, write_atomically
from harness.core.seeds import canonical_json
from harness.errors import StoreError
from harness.judges.store.read_only import is_read_only
from harness.judges.store.schema import PAGE_BYTES, Row, checksum


@dataclass(frozen=True, slots=True)
class FileChecksum:
    """What is known of a file that was closed."""

    size: int
    """In bytes."""
    sha256: str
    first_page: bytes
    """A copy of the page without which SQLite reads nothing: the header and the schema."""


def checksum_fault(table: str, row: Row) -> str | None:
    """Say whether a row differs from what was stored; its last column is its checksum."""
    try:
        is_intact = checksum(table, row[:-1]) == row[-1]
    except (TypeError, ValueError):
        return "a column has the wrong type"
    return None if is_intact else "its sha256 does not match"


def row_fault(table: str, row: Row) -> str | None:
    """Say what is wrong with a row; None: nothing is."""
    if fault := checksum_fault(table, row):
        return fault
    if table == "attempt" and hashlib.sha256(_canonical(row[3])).hexdigest() != row[0]:
        return "its key is not that of its request"
    return None


def row_name(table: str, row: Row) -> str:
    """Return how messages name a row."""
    if table == "attempt":
        return f"attempt {row[1]} of verdict {row[0]}"
    return f"a row of the table {table} ({row[0]})"


def damaged_error(path: Path, table: str, row: Row, fault: str) -> StoreError:
    """Return the error of a row that cannot be served."""
    return StoreError(
        f"{row_name(table, row)} in {path} is damaged ({fault}): `harness verdicts repair` keeps "
        "all the others"
    )


@contextmanager
def shared_lock(path: Path) -> Iterator[None]:
    """Hold a lock beside the store while it is open; the last process writes its checksum.

    Raises:
        StoreError: the directory cannot be written.
    """
    with report_disk_errors(path):
        lock = open(_lock_path(path), "ab")  # noqa: SIM115
    with lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if not checksum_path(path).exists() and _lock_exclusively(lock):
                _write_checksum(path)


@contextmanager
def exclusive_lock(path: Path) -> Iterator[bool]:
    """Yield whether no process has the store open, and keep others out if so.

    Of a store that cannot be written it is not known.
    """
    if is_read_only(path):
        yield False
        return
    with open(_lock_path(path), "ab") as lock:
        yield _lock_exclusively(lock)


@contextmanager
def submission_lock(path: Path) -> Iterator[None]:
    """Hold the only right to submit batches of a store; wait while another process has it.

    Raises:
        StoreError: the directory cannot be written.
    """
    with report_disk_errors(path):
        lock = open(path.with_name(f"{path.name}.batches.lock"), "ab")  # noqa: SIM115
    with lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def checksum_path(path: Path) -> Path:
    """Return the file that holds the checksum of a store."""
    return path.with_name(f"{path.name}.sum")


def log_path(path: Path) -> Path:
    """Return SQLite's write-ahead log, which the last process removes when it closes the store."""
    return path.with_name(f"{path.name}-wal")


def drop_checksum(path: Path) -> None:
    """Remove the checksum of the file, which is about to change."""
    checksum_path(path).unlink(missing_ok=True)


def file_checksum(path: Path) -> FileChecksum | None:
    """Return the checksum of the closed file; None where it is in use or was left open.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        record = json.loads(checksum_path(path).read_text(encoding="utf-8"))
        page = base64.b64decode(record["first_page"], validate=True)
        if record["self"] != hashlib.sha256(_checksum_body(record).encode()).hexdigest():
            raise ValueError("its own checksum does not match")
        return FileChecksum(int(record["bytes"]), str(record["sha256"]), page)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{checksum_path(path)} cannot be read ({error})") from error


def file_fault(path: Path) -> str | None:
    """Say how a closed file differs from what was left; None: not at all, or it is not known."""
    try:
        record = file_checksum(path)
    except ValueError as error:
        return str(error)
    if record is None:
        return None
    if (size := path.stat().st_size) != record.size:
        return f"the file has {size} bytes and was left with {record.size}"
    return None if sha256(path) == record.sha256 else "the file has changed: its sha256 differs"


def _canonical(request: object) -> bytes:
    """Return a request's text as its key is computed from."""
    with suppress(TypeError, ValueError):
        return canonical_json(json.loads(str(request))).encode()
    return b""


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _lock_exclusively(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write_checksum(path: Path) -> None:
    """Record what a closed store consists of; a full disk leaves it without."""
    with suppress(OSError, StoreError):
        if not path.is_file() or log_path(path).exists():
            return
        with open(path, "rb") as file:
            page = base64.b64encode(file.read(PAGE_BYTES)).decode()
        record = {"bytes": path.stat().st_size, "sha256": sha256(path), "first_page": page}
        record["self"] = hashlib.sha256(_checksum_body(record).encode()).hexdigest()
        write_atomically(checksum_path(path), json.dumps(record) + "\n")


def _checksum_body(record: dict[str, object]) -> str:
    return f"{record['bytes']} {record['sha256']} {record['first_page']}"
