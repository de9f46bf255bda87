"""The verdict store: every reply that a judge ever gave, in one SQLite file.

A row is an attempt, keyed by the sha256 of the whole request; nothing is ever overwritten, and a
row that was added is on the disk. A reply is stored as it came, so a better reader can read it
again. Its checksum covers the key too: a reply that got under another key is not served.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StoreError
from harness.files import writing
from harness.judges.wire import Body
from harness.seeds import canonical, digest

VERSION = 1
BUSY_SECONDS = 30.0
CHUNK = 500
SCHEMA = """
CREATE TABLE IF NOT EXISTS attempt (
    key     TEXT    NOT NULL,  -- sha256 of the request
    attempt INTEGER NOT NULL,  -- from 1
    time    TEXT    NOT NULL,  -- UTC
    request TEXT    NOT NULL,  -- canonical JSON: model, messages, every parameter
    reply   TEXT    NOT NULL,  -- the response's body as it came
    sha256  TEXT    NOT NULL,  -- of the key, a line break and the reply
    model   TEXT    NOT NULL,  -- what the server says it served
    status  TEXT    NOT NULL CHECK (status IN ('read', 'unread')),
    PRIMARY KEY (key, attempt)
) STRICT
"""
INSERT = """
INSERT INTO attempt
SELECT ?, 1 + coalesce(max(attempt), 0), ?, ?, ?, ?, ?, ? FROM attempt WHERE key = ?
"""


def key_of(body: Body) -> str:
    """Return what a request's verdicts are kept under: the sha256 of its canonical JSON."""
    return digest(body)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A reply, and what it replies to."""

    body: Body
    reply: str
    """The response's body."""
    model: str
    """What the server says it served."""
    readable: bool

    def row(self) -> tuple[str, ...]:
        """Return what `INSERT` takes."""
        key = key_of(self.body)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = "read" if self.readable else "unread"
        told = (canonical(self.body), self.reply, checksum(key, self.reply), self.model, status)
        return (key, now, *told, key)


@dataclass(frozen=True)
class VerdictStore:
    """An open store; see `opened`."""

    path: Path
    connection: sqlite3.Connection

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Keep replies, each as the next attempt of its request; on return they are on the disk.

        Raises:
            StoreError: the database cannot be written; none of them is kept.
        """
        rows = [attempt.row() for attempt in attempts]
        with usable(self.path), self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.executemany(INSERT, rows)

    def replies(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Return the replies under every key that has any, in the order of the attempts.

        Raises:
            StoreError: the database cannot be read, or a reply is not what was stored.
        """
        found: dict[str, list[str]] = {}
        for key, attempt, reply, sha256 in self._rows(list(keys)):
            if checksum(key, reply) != sha256:
                raise StoreError(
                    f"attempt {attempt} of verdict {key} in {self.path} is damaged (its sha256 "
                    f"does not match): move the file away, or delete the row, and run again"
                )
            found.setdefault(key, []).append(reply)
        return found

    def _rows(self, keys: list[str]) -> Iterator[tuple[str, int, str, str]]:
        for begun in range(0, len(keys), CHUNK):
            some = keys[begun : begun + CHUNK]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, attempt, reply, sha256 FROM attempt WHERE key IN ({marks})"
            with usable(self.path):
                rows = self.connection.execute(f"{query} ORDER BY key, attempt", some).fetchall()
            yield from rows


@contextmanager
def opened(path: Path) -> Iterator[VerdictStore]:
    """Open a store, made where there is none, and close it in the end.

    Raises:
        StoreError: the file is no store of this version, or cannot be used.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with usable(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        with usable(path):
            _prepare(path, connection)
        yield VerdictStore(path, connection)
    finally:
        connection.close()


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line that names the file and what mends it."""
    try:
        yield
    except sqlite3.Error as error:
        told = str(error)
        mend = "move it away and run again"
        if "locked" in told or "busy" in told:
            mend = "another process holds it; wait for that to end and run again"
        elif "full" in told or "I/O" in told:
            mend = "free some space and run the same command again; what stood is untouched"
        elif "unable to open" in told or "readonly" in told:
            mend = "name another place with --workspace"
        raise StoreError(f"cannot use the verdict store {path} ({told}): {mend}") from error


def checksum(key: str, reply: str) -> str:
    """Return the sha256 that tells whether a reply is the one that was stored under a key."""
    return hashlib.sha256(f"{key}\n{reply}".encode()).hexdigest()


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        raise StoreError(
            f"{path} was written by another version of the harness (layout {version}, this one "
            f"reads {VERSION}): use that version, or name another place with --workspace"
        )
    connection.execute(SCHEMA)
    if version != VERSION:
        connection.execute(f"PRAGMA user_version = {VERSION}")
