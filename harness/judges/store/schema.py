"""Which file system a path lies on: SQLite's write-ahead log needs memory shared by all who write.

Over a network there is none, so that there the older rollback journal is used.

How a verdict store lies on the disk: its tables, its journal, and the way from older layouts.

attempt   every reply that a judge ever gave; rows are added and never changed
call      every call that is or may be on the bill, replies and failures alike
claim     requests that somebody is asking right now, so that nobody else does
owner     who that is: a process, or a batch at the judge's own end
batch     batches of requests, from the intention to the last line fetched
line      the lines of a batch
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from harness.errors import StoreError

PAGE_BYTES = 4096


MOUNTS = Path("/proc/self/mountinfo")
NETWORK_TYPES = frozenset(
    {"9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "cvfs", "fhgfs", "fuse", "gfs2"}
    | {"glusterfs", "gpfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "prl_fs"}
    | {"pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "weka", "wekafs"}
)
"""File systems that several machines may share; any FUSE counts, what lies under it is unknown."""


def file_system_type(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that a path lies on; None where that is not told.

    `mounts` is the text of /proc/self/mountinfo (Linux).
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
    """Say whether other machines may write there too."""
    name = (file_system_type(path, mounts) or "").partition(".")[0]
    return name in NETWORK_TYPES


def _unescape(field: str) -> str:
    """Return a mount point as it is, without the octal escapes of mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


pass
from harness.core.seeds import canonical_json

VERSION = 3
CREATE_ATTEMPT = """
CREATE TABLE attempt (
    key     TEXT    NOT NULL,  -- sha256 of the request
    attempt INTEGER NOT NULL,  -- from 1
    time    TEXT    NOT NULL,  -- UTC
    request TEXT    NOT NULL,  -- canonical JSON: model, messages, every parameter
    reply   TEXT    NOT NULL,  -- the response's body as it came; why it was refused
    sha256  TEXT    NOT NULL,  -- of all the other columns
    model   TEXT    NOT NULL,  -- what the server says it served
    status  TEXT    NOT NULL CHECK (status IN ('read', 'unread', 'quarantined', 'refused')),
    PRIMARY KEY (key, attempt)
) STRICT
"""
CREATE_OTHERS = """
CREATE TABLE IF NOT EXISTS call (
    key               TEXT    NOT NULL,
    time              TEXT    NOT NULL,  -- UTC
    outcome           TEXT    NOT NULL,  -- an attempt's status, or what went wrong
    model             TEXT    NOT NULL,  -- what was asked for
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    estimated         INTEGER NOT NULL,  -- 1: the server did not tell the tokens
    dollars           REAL,              -- null: no price is known
    seconds           REAL               -- null: it was a batch, or it failed
) STRICT;
CREATE INDEX IF NOT EXISTS call_key ON call (key);
CREATE TABLE IF NOT EXISTS owner (
    id      TEXT PRIMARY KEY,
    place   TEXT NOT NULL,               -- machine, boot and process namespace; '' for a batch
    pid     INTEGER NOT NULL,
    started TEXT NOT NULL,               -- when the process began, as its machine counts
    beat    REAL NOT NULL                -- seconds since 1970: its last sign of life
) STRICT;
CREATE TABLE IF NOT EXISTS claim (
    key   TEXT PRIMARY KEY,
    owner TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS batch (
    name    TEXT PRIMARY KEY,            -- ours: also the owner of its claims
    judge   TEXT NOT NULL,
    file    TEXT,                        -- the judge's name of the uploaded file
    batch   TEXT,                        -- the judge's name of the batch
    state   TEXT NOT NULL,
    time    TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS line (
    batch   TEXT NOT NULL,
    key     TEXT NOT NULL,
    request TEXT NOT NULL,
    state   TEXT NOT NULL,               -- asked, kept, failed, missing
    told    TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (batch, key)
) STRICT
"""


def checksum(columns: Sequence[object]) -> str:
    """Return the sha256 of an attempt's columns but for `sha256` itself, in their order."""
    return hashlib.sha256(canonical_json(list(columns)).encode()).hexdigest()


def prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Set the journal and bring the tables to this version.

    Raises:
        StoreError: the file was written by a later version.
    """
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # only a new file heeds it
    journal_mode = "delete" if is_shared(path) else "wal"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != journal_mode:
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    connection.execute("PRAGMA synchronous = FULL")
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _migrate(path, connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = _version(connection)
    if version not in (0, 1, 2, VERSION):
        raise StoreError(
            f"{path} was written by another version of the harness (layout {version}, this one "
            f"reads {VERSION}): use that version, or name another place with --workspace"
        )
    if version == VERSION:  # another process was faster
        return
    if version:
        connection.execute("ALTER TABLE attempt RENAME TO attempt_before")
    connection.execute(CREATE_ATTEMPT)
    for statement in CREATE_OTHERS.split(";\n"):
        connection.execute(statement)
    if version:
        connection.create_function("resealed", -1, _migrated_checksum, deterministic=True)
        columns = "key, attempt, time, request, reply, model, status, sha256"
        sha256 = f"resealed({columns})" if version == 1 else "sha256"
        connection.execute(
            f"INSERT INTO attempt SELECT key, attempt, time, request, reply, {sha256}, model, "
            "status FROM attempt_before ORDER BY rowid"
        )
        connection.execute("DROP TABLE attempt_before")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _migrated_checksum(*columns: object) -> str:
    """Return the checksum of a row of version 1, or the one it had where that does not hold."""
    *rest, sha256 = columns
    content = f"{rest[0]}\n{rest[4]}"
    is_intact = hashlib.sha256(content.encode()).hexdigest() == sha256
    return checksum(rest) if is_intact else str(sha256)
