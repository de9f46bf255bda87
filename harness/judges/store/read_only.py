"""Stores that cannot be written: listed, verified, exported and scored from, and never changed.

SQLite needs to write beside a store that was left open, or that an older version wrote: such a one
is read from a copy in a temporary directory.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harness.judges.store.schema import VERSION, later_version_error, prepare, schema_version


def is_read_only(path: Path) -> bool:
    """Say whether a store exists that cannot be written, or whose directory cannot."""
    return path.is_file() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Yield a store that SQLite can read without writing: itself, or a copy of what was left open.

    Raises:
        OSError: there is no room for the copy.
    """
    log = path.with_name(f"{path.name}-wal")
    if not (is_read_only(path) and log.exists()):
        yield path
        return
    with tempfile.TemporaryDirectory() as directory:
        yield _copied(path, log, Path(directory))


def _copied(path: Path, log: Path, directory: Path) -> Path:
    copy = directory / path.name
    shutil.copyfile(path, copy)
    if log.exists():
        shutil.copyfile(log, copy.with_name(log.name))
    return copy


@contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that refuses to write.

    Raises:
        StoreError: a later version wrote the store, or it holds what no version creates.
        sqlite3.Error: it cannot be read.
    """
    log = path.with_name(f"{path.name}-wal")
    with tempfile.TemporaryDirectory() as directory:
        file, mode = path, "immutable=1"
        if log.exists() or _version(path) < VERSION:
            file, mode = _copied(path, log, Path(directory)), "mode=rw"
        with closing(_connect(file, mode)) as connection:
            if file is not path:
                prepare(path, connection)
            elif (version := schema_version(connection)) > VERSION:
                raise later_version_error(path, version)
            connection.execute("PRAGMA query_only = ON")
            yield connection


def _version(path: Path) -> int:
    with closing(_connect(path, "immutable=1")) as connection:
        return schema_version(connection)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
