"""Maintenance of a verdict store: summary, verification, repair, export and import."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.io import read_jsonl, report_disk_errors
from harness.errors import InputError, StoreError
from harness.judges import chat_format
from harness.judges.store import integrity, schema
from harness.judges.store.database import DATABASE_ERRORS, VerdictStore, open_store, store_errors
from harness.judges.store.integrity import damaged_error, row_fault, row_name
from harness.judges.store.read_only import is_read_only, readable
from harness.judges.store.schema import COLUMNS, PAGE_BYTES, VERSION, Row, insert_sql

STATUSES = frozenset({"parsed", "unparsed", "quarantined", "refused"})
EXPORT_FIELDS = (*COLUMNS["attempt"], "sha256")
EXPORT_FORMAT = "verdicts as `harness verdicts export` writes them"
SUMMARY = """
SELECT json_extract(request, '$.model'), model, status, count(*), min(time), max(time)
FROM attempt GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
COST_SUMMARY = """
SELECT model, count(*), sum(prompt_tokens), sum(completion_tokens),
  CASE WHEN count(dollars) = count(*) THEN sum(dollars) END FROM call GROUP BY 1 ORDER BY 1
"""
MAGIC = b"SQLite format 3\0"
VERSION_BYTES, CHANGES_BYTES = slice(60, 64), slice(24, 28)
"""Where a SQLite file has `user_version`, and its count of changes."""
INDEXES = {"call": "call_key"}
"""The index that has an entry a row; of the other tables it is the primary key's."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The result of a verification."""

    attempts: int
    """The number of intact attempts."""
    faults: tuple[str, ...]
    """What is wrong; empty if nothing is."""


@dataclass(frozen=True, slots=True)
class StoreRepair:
    """The result of a repair."""

    copied: Mapping[str, int]
    """Rows copied into the new store, by table."""
    lost: Mapping[str, int | None]
    """Rows that could not be copied, by table; None: some, in a number that is unknown."""
    backup: Path
    """The old file."""


def summary(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what a store holds: verdicts by judge and status, calls and dollars by judge.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    _require_store(path)
    with open_store(path) as store, store_errors(path):
        rows = store.connection.execute(SUMMARY).fetchall()
        money = store.connection.execute(COST_SUMMARY).fetchall()
    headings = ("judge", "served", "status", "attempts", "first", "last")
    costs = ("judge", "calls", "prompt_tokens", "completion_tokens", "dollars")
    return {
        "verdicts": [dict(zip(headings, row, strict=True)) for row in rows],
        "calls": [dict(zip(costs, row, strict=True)) for row in money],
    }


def verify(path: Path) -> StoreHealth:
    """Check every row of every table, SQLite's structures, and the file if it was closed.

    Nothing is changed.

    Raises:
        StoreError: there is no store, or a later version of the harness wrote it.
    """
    _require_store(path)
    _reject_later_version(path)
    with integrity.exclusive_lock(path) as alone:
        possible = (integrity.file_fault(path), _missing_log(path, alone))
    faults = [fault for fault in possible if fault]
    attempts = 0
    try:
        with readable(path) as file, closing(_read_only(file)) as connection:
            version = schema.schema_version(connection)
            if version > VERSION and integrity.log_path(path).exists():  # SQLite has checked it
                raise schema.later_version_error(path, version)
            if version != VERSION:
                outlook = "any use of it brings it up to date" if version < VERSION else "damage"
                message = f"its schema is {version}, not {VERSION}: {outlook}"
                return StoreHealth(0, (*faults, message))
            faults += [
                f"it holds {name}, which the harness did not create"
                for name in schema.foreign_objects(connection)
            ]
            for table in COLUMNS:
                for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid"):
                    if fault := row_fault(table, row):
                        faults.append(f"{row_name(table, row)}: {fault}")
                    elif table == "attempt":
                        attempts += 1
            faults += _structure_faults(connection)
    except DATABASE_ERRORS as error:
        return StoreHealth(0, (*faults, f"SQLite: {error}"))
    return StoreHealth(attempts, tuple(faults))


def repair(path: Path) -> StoreRepair:
    """Copy every intact row into a new store, and rename the old one.

    Rows on a page that SQLite cannot read are lost, and are reported.

    Raises:
        StoreError: there is none, another process has it open, a later version of the harness wrote
            it, the disk is full, or the store cannot be written.
    """
    _require_store(path)
    _reject_later_version(path)
    if is_read_only(path):
        raise StoreError(
            f"{path} cannot be written: copy the directory to where it can, and repair the copy"
        )
    with suppress(StoreError), open_store(path):  # SQLite's log is applied, an old schema migrated
        pass
    _reject_later_version(path)  # whose version may have been in the log
    with integrity.exclusive_lock(path) as alone:
        if not alone:
            raise StoreError(f"{path} is in use: repair it when the other process has ended")
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        rebuilt, backup = (
            path.with_name(f"{path.name}.{word}") for word in ("new", f"damaged-{stamp}")
        )
        with report_disk_errors(path):
            for file in (rebuilt, integrity.checksum_path(rebuilt)):
                file.unlink(missing_ok=True)
            copied, lost = _copy_intact(path, rebuilt)
            _rename_store(path, backup)
            _rename_store(rebuilt, path)
            rebuilt.with_name(f"{rebuilt.name}.lock").unlink(missing_ok=True)
    return StoreRepair(copied, lost, backup)


def export(path: Path, target: Path) -> int:
    """Write every attempt as a line of JSON, compressed if the name ends in .gz; return how many.

    Raises:
        StoreError: there is no store, it is damaged, or the file cannot be written.
    """
    _require_store(path)
    count = 0
    opener = gzip.open if target.suffix == ".gz" else open
    with open_store(path) as store, report_disk_errors(target), opener(target, "wt") as file:
        for row in _verified_attempts(store):
            file.write(json.dumps(dict(zip(EXPORT_FIELDS, row, strict=True))) + "\n")
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class StoreImport:
    """The result of an import."""

    new: int
    """Attempts that were added."""
    known: int
    """Attempts that the store had."""
    unreadable: int
    """Attempts that were left out: no judge's reply that can be read, or no request."""


def import_verdicts(path: Path, source: Path) -> StoreImport:
    """Add a file's attempts to a store; what could not be read from it again is left out.

    Raises:
        InputError: the file cannot be read, or a line is damaged; nothing is added.
        StoreError: the store cannot be used.
    """
    lines = enumerate(read_jsonl(source, EXPORT_FORMAT), 1)
    attempts = [_parse_line(source, number, line) for number, line in lines]
    readable_attempts = [attempt for attempt in attempts if _is_readable(attempt)]
    new = 0
    with open_store(path) as store, store.transaction():
        for attempt in readable_attempts:
            new += _add_if_new(store, attempt)
    left_out = len(attempts) - len(readable_attempts)
    return StoreImport(new, len(readable_attempts) - new, left_out)


def _is_readable(attempt: Row) -> bool:
    """Say whether an attempt has a request and a reply that its readers take."""
    key, _, moment, request, reply, model, status = attempt
    texts = (key, moment, request, reply, model)
    if not all(isinstance(text, str) for text in texts) or status not in STATUSES:
        return False
    try:
        chat_format.messages_of(json.loads(request))
        if status != "refused":
            chat_format.reply_of(reply)
    except (ValueError, AttributeError, RecursionError):
        return False
    return True


def _add_if_new(store: VerdictStore, attempt: Row) -> bool:
    """Add an attempt unless the store has the same reply."""
    key, _, moment, request, reply, model, status = attempt
    query = "SELECT reply, model FROM attempt WHERE key = ?"
    existing = store.connection.execute(query, (key,)).fetchall()
    if (reply, model) in existing:
        return False
    row = (key, len(existing) + 1, moment, request, reply, model, status)
    store.put("attempt", [row])
    return True


def _parse_line(source: Path, number: int, line: dict[str, Any]) -> Row:
    """Return a line's attempt without its checksum; exports of schemas 2 and 3 are read, too."""
    row = tuple(line.get(name) for name in EXPORT_FIELDS)
    if schema.old_checksum(row[:-1]) == row[-1]:
        row = schema.with_checksum("attempt", schema.renamed_words("attempt", row[:-1]))
    if (fault := row_fault("attempt", row)) is not None:
        raise InputError(
            f"{source}: line {number} is no intact verdict ({fault}); nothing is added"
        )
    return row[:-1]


def _verified_attempts(store: VerdictStore) -> Iterator[Row]:
    with store_errors(store.path):
        for row in store.connection.execute("SELECT * FROM attempt ORDER BY rowid"):
            if (fault := row_fault("attempt", row)) is not None:
                raise damaged_error(store.path, "attempt", row, fault)
            yield row


def _copy_intact(path: Path, rebuilt: Path) -> tuple[dict[str, int], dict[str, int | None]]:
    """Copy the intact rows of each table; return how many were copied, and how many were lost."""
    copied: dict[str, int] = {}
    lost: dict[str, int | None] = {}
    source = _openable(path, rebuilt.with_name(f"{rebuilt.name}.source"))
    with open_store(rebuilt) as store, store.transaction():
        for table in COLUMNS:
            rows, is_complete = _readable_rows(source, table)
            intact = [row for row in rows if row_fault(table, row) is None]
            statement = insert_sql(table).replace("INSERT", "INSERT OR IGNORE", 1)
            store.connection.executemany(statement, intact)
            count = store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            entries = len(rows) if is_complete else _index_entries(source, table)
            copied[table] = count
            lost[table] = None if entries is None else max(entries, len(rows)) - count
    if source != path:
        source.unlink()
    return copied, lost


def _openable(path: Path, copy: Path) -> Path:
    """Return a store that SQLite can open: a copy with its first page and its length as they were.

    Without the checksum of the file, or where both are intact, it is the store itself.
    """
    try:
        record = integrity.file_checksum(path)
    except ValueError:
        return path
    with open(path, "rb") as file:
        if record is None or (
            file.read(PAGE_BYTES) == record.first_page and path.stat().st_size == record.size
        ):
            return path
    shutil.copyfile(path, copy)
    with open(copy, "r+b") as file:
        file.write(record.first_page)
        file.truncate(record.size)
    return copy


def _readable_rows(path: Path, table: str) -> tuple[list[Row], bool]:
    """Return the rows that SQLite can read, and whether it reports no damage between them.

    The table is read from both ends; where both stop at damage, each row between is looked up.
    """
    rows: dict[int, Row] = {}
    ends: list[int] = []
    with closing(_read_only(path)) as connection:
        for order in ("ASC", "DESC"):
            last = 0
            try:
                for last, *row in connection.execute(
                    f"SELECT rowid, * FROM {table} ORDER BY rowid {order}"
                ):
                    rows.setdefault(last, tuple(row))
            except DATABASE_ERRORS:
                ends.append(last)
            else:
                return [rows[rowid] for rowid in sorted(rows)], not ends
        for rowid in range(ends[0] + 1, ends[1]):
            with suppress(*DATABASE_ERRORS):
                query = f"SELECT * FROM {table} WHERE rowid = ?"
                if row := connection.execute(query, (rowid,)).fetchone():
                    rows.setdefault(rowid, row)
    return [rows[rowid] for rowid in sorted(rows)], False


def _index_entries(path: Path, table: str) -> int | None:
    """Return the number of rows by the table's index; None where that cannot be read either."""
    index = INDEXES.get(table, f"sqlite_autoindex_{table}_1")
    with suppress(*DATABASE_ERRORS), closing(_read_only(path)) as connection:
        query = f"SELECT count(*) FROM {table} INDEXED BY {index}"
        count: int = connection.execute(query).fetchone()[0]
        return count
    return None


def _structure_faults(connection: sqlite3.Connection) -> list[str]:
    messages = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    return [] if messages == ["ok"] else [f"SQLite: {line}" for line in messages]


def _missing_log(path: Path, alone: bool) -> str | None:
    """Say so where a store was left open and its log is gone."""
    was_left_open = alone and not integrity.checksum_path(path).exists()
    if not was_left_open or integrity.log_path(path).exists() or not _uses_log(path):
        return None
    return "its write-ahead log is gone: the latest verdicts may be lost, and are asked again"


def _uses_log(path: Path) -> bool:
    """Say whether a file is written through a log (bytes 18 and 19 of the header are 2)."""
    with open(path, "rb") as file:
        return file.read(20)[18:] == b"\x02\x02"


def _read_only(path: Path) -> sqlite3.Connection:
    """Open a store without changing it: as a reader if it was left open, else without locks.

    Bytes that are no UTF-8 are kept as surrogates, which no checksum matches.
    """
    mode = "mode=ro" if integrity.log_path(path).exists() else "immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    return connection


def _rename_store(path: Path, target: Path) -> None:
    """Rename a store with its log and its checksum."""
    for suffix in ("-wal", "-shm", ".sum", ""):
        if (file := path.with_name(path.name + suffix)).exists():
            file.rename(target.with_name(target.name + suffix))


def _reject_later_version(path: Path) -> None:
    """Leave a store alone that a later version of the harness wrote.

    A version that differs from the recorded first page, where nothing else in the header does, is
    a damaged one: SQLite counts every change that it makes.

    Raises:
        StoreError: a later version wrote it.
    """
    with open(path, "rb") as file:
        page = file.read(PAGE_BYTES)
    version = int.from_bytes(page[VERSION_BYTES], "big")
    if not page.startswith(MAGIC) or version <= VERSION:
        return
    with suppress(ValueError):
        record = integrity.file_checksum(path)
        if record and (
            record.first_page[VERSION_BYTES] != page[VERSION_BYTES]
            and record.first_page[CHANGES_BYTES] == page[CHANGES_BYTES]
        ):
            return
    raise schema.later_version_error(path, version)


def _require_store(path: Path) -> None:
    if not path.is_file():
        raise StoreError(
            f"there is no verdict store at {path}: name the directory with --workspace"
        )
