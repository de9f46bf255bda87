"""How a verdict store lies on disk: its tables, its journal and the migration of older versions.

attempt   every reply that a judge has given; rows are added and never changed
call      every call that was, or may have been, billed, failed calls included
claim     requests that a process or a batch is asking now
owner     the holders of claims
batch     batches at a judge's Batch API, from the plan to the last line fetched
line      the requests of a batch

Every row of every table ends with the SHA-256 of its other columns.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.core.seeds import canonical_json
from harness.core.terminal import one_line
from harness.errors import StoreError

VERSION = 4
PAGE_BYTES = 4096
CREATE = """
CREATE TABLE attempt (
    key     TEXT    NOT NULL,            -- SHA-256 of the request
    attempt INTEGER NOT NULL,            -- counted from 1
    time    TEXT    NOT NULL,            -- UTC
    request TEXT    NOT NULL,            -- canonical JSON: model, messages, every parameter
    reply   TEXT    NOT NULL,            -- the response body as received; why it was refused
    model   TEXT    NOT NULL,            -- the model that the server names
    status  TEXT    NOT NULL CHECK (status IN ('parsed', 'unparsed', 'quarantined', 'refused')),
    sha256  TEXT    NOT NULL,
    PRIMARY KEY (key, attempt)
) STRICT;
CREATE TABLE call (
    key               TEXT    NOT NULL,
    time              TEXT    NOT NULL,  -- UTC
    outcome           TEXT    NOT NULL,  -- an attempt's status, or the reason of a failure
    model             TEXT    NOT NULL,  -- the model that was requested
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    estimated         INTEGER NOT NULL,  -- 1: the server reported no token counts
    dollars           REAL,              -- null: no price is known
    seconds           REAL,              -- null: a batch or a failure
    sha256            TEXT    NOT NULL
) STRICT;
CREATE INDEX call_key ON call (key);
CREATE TABLE owner (
    id        TEXT PRIMARY KEY,
    host      TEXT    NOT NULL,          -- machine, boot and PID namespace; '' for a batch
    pid       INTEGER NOT NULL,
    started   TEXT    NOT NULL,          -- start time of the process in its machine's clock
    heartbeat REAL    NOT NULL,          -- seconds since 1970
    sha256    TEXT    NOT NULL
) STRICT;
CREATE TABLE claim (
    key    TEXT PRIMARY KEY,
    owner  TEXT NOT NULL,
    sha256 TEXT NOT NULL
) STRICT;
CREATE TABLE batch (
    name     TEXT PRIMARY KEY,           -- ours; it also owns the batch's claims
    judge    TEXT NOT NULL,
    file_id  TEXT,                       -- the server's name of the uploaded file
    batch_id TEXT,                       -- the server's name of the batch
    state    TEXT NOT NULL,              -- planned, uploaded, submitted, fetched
    time     TEXT NOT NULL,
    sha256   TEXT NOT NULL
) STRICT;
CREATE TABLE line (
    batch   TEXT NOT NULL,
    key     TEXT NOT NULL,
    request TEXT NOT NULL,
    state   TEXT NOT NULL,               -- pending, stored, failed, missing
    reason  TEXT NOT NULL,               -- why it failed
    sha256  TEXT NOT NULL,
    PRIMARY KEY (batch, key)
) STRICT
"""
COLUMNS = {
    "attempt": ("key", "attempt", "time", "request", "reply", "model", "status"),
    "call": (
        *("key", "time", "outcome", "model"),
        *("prompt_tokens", "completion_tokens", "estimated", "dollars", "seconds"),
    ),
    "owner": ("id", "host", "pid", "started", "heartbeat"),
    "claim": ("key", "owner"),
    "batch": ("name", "judge", "file_id", "batch_id", "state", "time"),
    "line": ("batch", "key", "request", "state", "reason"),
}
"""Columns of each table, without `sha256`, which comes last."""
OLD_COLUMNS = {
    "attempt": COLUMNS["attempt"],
    "call": COLUMNS["call"],
    "claim": COLUMNS["claim"],
    "owner": ("id", "place", "pid", "started", "beat"),
    "batch": ("name", "judge", "file", "batch", "state", "time"),
    "line": ("batch", "key", "request", "state", "told"),
}
"""The same of versions 2 and 3; version 1 had attempts only."""
PARSED = {prefix + "read": prefix + "parsed" for prefix in ("", "un")}
NEW_WORDS = {
    ("attempt", 6): PARSED,
    ("call", 2): PARSED,
    ("batch", 4): {"meant": "planned"},
    ("line", 3): {"asked": "pending", "kept": "stored"},
}
"""By table and column, the words of versions 1 to 3 that version 4 writes differently."""
MOUNTS = Path("/proc/self/mountinfo")
NETWORK_TYPES = frozenset(
    {"9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "cvfs", "fhgfs", "fuse", "gfs2"}
    | {"glusterfs", "gpfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "prl_fs"}
    | {"pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "weka", "wekafs"}
)
"""File systems that several machines may share; any FUSE counts, as its backend is unknown."""

Row = tuple[Any, ...]


def checksum(table: str, columns: Sequence[object]) -> str:
    """Return the SHA-256 (hex) of a row's columns without `sha256`, in their order."""
    return hashlib.sha256(canonical_json([table, *columns]).encode()).hexdigest()


def with_checksum(table: str, columns: Sequence[object]) -> Row:
    """Return a row as it is inserted."""
    return (*columns, checksum(table, columns))


def insert_sql(table: str, *, update: bool = False) -> str:
    """Return the statement that inserts a row, or updates the row of the same primary key."""
    names = (*COLUMNS[table], "sha256")
    statement = f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})"
    if not update:
        return statement
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"{statement} ON CONFLICT DO UPDATE SET {changes}"


def prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Set the journal and bring the tables to this version.

    Raises:
        StoreError: the file was written by a later version, or holds what no version creates.
    """
    if (version := schema_version(connection)) > VERSION:
        raise later_version_error(path, version)
    if names := foreign_objects(connection):
        raise StoreError(
            f"{path} holds what the harness did not create ({', '.join(names[:3])}): it may not "
            "keep verdicts; `harness verdicts repair` copies the intact ones into a new store"
        )
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # only a new file heeds it
    journal_mode = "delete" if is_shared(path) else "wal"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != journal_mode:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    connection.execute("PRAGMA synchronous = FULL")
    if schema_version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _migrate(path, connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def foreign_objects(connection: sqlite3.Connection) -> list[str]:
    """Return what a store holds besides our tables: triggers, views, tables and indexes.

    A table of this version that is defined in another way counts, too. Of an older version, whose
    tables are replaced, and of a new file only kinds and names are known.
    """
    version = schema_version(connection)
    expected = _definitions()
    known_names = {"old_" + name for name in COLUMNS} | expected.keys()
    objects = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
    return [
        f"the {kind} {one_line(str(name), 60)}"
        for kind, name, sql in objects.fetchall()
        if not str(name).startswith("sqlite_")
        and (
            kind not in ("table", "index")
            or name not in known_names
            or (version == VERSION and _without_comments(str(sql)) != expected.get(name))
        )
    ]


@functools.cache
def _definitions() -> dict[str, str]:
    """Return this version's statements, without comments, by the name of what they create."""
    statements = [_without_comments(text) for text in CREATE.split(";\n")]
    return {text.split()[2]: text for text in statements}


def _without_comments(sql: str) -> str:
    return " ".join(re.sub(r"--.*", "", sql).split())


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of a file's tables; 0 for a new file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def later_version_error(path: Path, version: int) -> StoreError:
    """Return the error of a store that this version cannot read, and must not change."""
    return StoreError(
        f"{path} was written by a later version of the harness (schema {version}, this one reads "
        f"{VERSION}) and is left as it is: use that version, or name another directory with "
        "--workspace"
    )


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = schema_version(connection)
    if version > VERSION:
        raise later_version_error(path, version)
    if version == VERSION:  # another process was faster
        return
    old_tables = {0: (), 1: ("attempt",)}.get(version, tuple(OLD_COLUMNS))
    for table in old_tables:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    connection.execute("DROP INDEX IF EXISTS call_key")
    for statement in CREATE.split(";\n"):
        connection.execute(statement)
    for table in old_tables:
        connection.executemany(insert_sql(table), _migrated_rows(connection, table, version))
        connection.execute(f"DROP TABLE old_{table}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _migrated_rows(connection: sqlite3.Connection, table: str, version: int) -> Iterator[Row]:
    """Yield a table's rows as version 4 has them; a damaged attempt stays damaged."""
    columns = ", ".join(OLD_COLUMNS[table])
    if table != "attempt":
        for row in connection.execute(f"SELECT {columns} FROM old_{table} ORDER BY rowid"):
            yield with_checksum(table, renamed_words(table, row))
        return
    for *row, sha256 in connection.execute(
        f"SELECT {columns}, sha256 FROM old_attempt ORDER BY rowid"
    ):
        new_row = renamed_words(table, row)
        is_intact = old_checksum(row, version) == sha256
        yield with_checksum(table, new_row) if is_intact else (*new_row, sha256)


def renamed_words(table: str, columns: Sequence[Any]) -> Row:
    """Return a row of an older version with the words of this one."""
    words = [NEW_WORDS.get((table, i), {}) for i in range(len(columns))]
    return tuple(known.get(value, value) for known, value in zip(words, columns, strict=True))


def old_checksum(columns: Sequence[Any], version: int = 3) -> str:
    """Return the checksum of an attempt in an older version (1 covered key and reply only)."""
    text = f"{columns[0]}\n{columns[4]}" if version == 1 else canonical_json(list(columns))
    return hashlib.sha256(text.encode()).hexdigest()


def file_system_type(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that holds a path; None where it is unknown.

    Args:
        path: the path.
        mounts: the text of /proc/self/mountinfo (Linux).
    """
    if mounts is None:
        try:
            mounts = MOUNTS.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    location, best = path.absolute().resolve(), (-1, "")
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        root = Path(_unescape(fields[4]))
        if location.is_relative_to(root) and len(root.parts) >= best[0]:
            best = (len(root.parts), after.split()[0])
    return best[1] or None


def is_shared(path: Path, mounts: str | None = None) -> bool:
    """Say whether other machines may write there: SQLite's write-ahead log cannot be used."""
    name = (file_system_type(path, mounts) or "").partition(".")[0]
    return name in NETWORK_TYPES


def _unescape(field: str) -> str:
    """Decode the octal escapes of mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
