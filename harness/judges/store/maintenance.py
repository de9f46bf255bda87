"""Reads the rows of a damaged SQLite file from its pages, without the tree that leads to them.

After https://www.sqlite.org/fileformat2.html: every page is tried as a leaf of a table, and what
comes out counts only where its own checksum holds. Needs a page size that is known, not a header.

Looks after a verdict store: what is in it, whether it is whole, and what can be saved of it.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.io import read_jsonl, report_disk_errors
from harness.core.seeds import digest
from harness.errors import InputError, StoreError
from harness.judges.store import integrity
from harness.judges.store.database import (
    ATTEMPT_COLUMNS,
    DATABASE_ERRORS,
    VerdictStore,
    open_store,
    store_errors,
)
from harness.judges.store.schema import PAGE_BYTES, VERSION, checksum

HEADER = 100
"""Bytes of the file's own header, on its first page."""
OVERHEAD = 35
"""Bytes of a page that a leaf's cell never takes: so much of a long row lies on other pages."""
SMALLEST = (PAGE_BYTES - 12) * 32 // 255 - 23
LONGEST = 1 << 30
WIDTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)
"""Bytes of a column by the first ten type codes; 7 is a float."""

SalvagedRow = tuple[object, ...]


def salvaged_rows(path: Path) -> Iterator[SalvagedRow]:
    """Yield whatever rows can be read; most are right, some may be nonsense."""
    data = path.read_bytes()
    for number in range(len(data) // PAGE_BYTES):
        yield from _leaf(data, number)


def _leaf(data: bytes, number: int) -> Iterator[SalvagedRow]:
    """Yield the rows of one page, as if it were a leaf."""
    page = data[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]
    header = HEADER if number == 0 else 0
    for pointer in range(header + 8, PAGE_BYTES - 1, 2):
        (start,) = struct.unpack_from(">H", page, pointer)
        if not pointer < start < PAGE_BYTES - 3:
            # one pointer may be damaged; a zero is where unused space begins
            if start == 0:
                return
            continue
        try:
            yield _row(_payload(data, page, start))
        except (IndexError, ValueError, struct.error, UnicodeDecodeError, OverflowError):
            continue


def _payload(data: bytes, page: bytes, start: int) -> bytes:
    """Return a cell's record: what lies on its page, and what lies on others."""
    size, offset = _varint(page, start)
    _, offset = _varint(page, offset)
    if not 0 < size < LONGEST:
        raise ValueError("no row is of this size")
    if size <= PAGE_BYTES - OVERHEAD:
        return page[offset : offset + size]
    local_bytes = SMALLEST + (size - SMALLEST) % (PAGE_BYTES - 4)
    local_bytes = local_bytes if local_bytes <= PAGE_BYTES - OVERHEAD else SMALLEST
    parts, (next_page,) = (
        [page[offset : offset + local_bytes]],
        struct.unpack_from(">I", page, offset + local_bytes),
    )
    remaining = size - local_bytes
    while remaining > 0:
        page_start = (next_page - 1) * PAGE_BYTES
        if not 0 < page_start < len(data):
            raise ValueError("the row goes on outside the file")
        (next_page,) = struct.unpack_from(">I", data, page_start)
        parts.append(data[page_start + 4 : page_start + 4 + min(remaining, PAGE_BYTES - 4)])
        remaining -= PAGE_BYTES - 4
    return b"".join(parts)


def _row(record: bytes) -> SalvagedRow:
    """Read a record: a header with the columns' types, then the columns."""
    length, offset = _varint(record, 0)
    types = []
    while offset < length:
        code, offset = _varint(record, offset)
        types.append(code)
    values, offset = [], length
    for code in types:
        width = WIDTHS[code] if code < len(WIDTHS) else (code - 12) // 2
        part = record[offset : offset + width]
        if len(part) < width:
            raise ValueError("the row is cut off")
        values.append(_value(code, part))
        offset += width
    return tuple(values)


def _value(code: int, part: bytes) -> object:
    match code:
        case 0:
            return None
        case 7:
            return struct.unpack(">d", part)[0]
        case 8 | 9:
            return code - 8
        case _ if code < 7:
            return int.from_bytes(part, "big", signed=True)
        case _:
            return part.decode("utf-8") if code % 2 else part


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and where it ends."""
    value = 0
    for count in range(8):
        byte = data[offset + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + count + 1
    return value << 8 | data[offset + 8], offset + 9


COLUMN_NAMES = tuple(ATTEMPT_COLUMNS.split(", "))
TEXT_COLUMNS = tuple(name for name in COLUMN_NAMES if name != "attempt")
EXPORT_FORMAT = "verdicts as `harness verdicts export` writes them"
COPIED_TABLES = ("call", "batch", "line")
"""Tables that a repair keeps besides the attempts."""
SUMMARY = """
SELECT json_extract(request, '$.model'), model, status, count(*), min(time), max(time)
FROM attempt GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
COST_SUMMARY = """
SELECT model, count(*), sum(prompt_tokens), sum(completion_tokens),
  CASE WHEN count(dollars) = count(*) THEN sum(dollars) END FROM call GROUP BY 1 ORDER BY 1
"""
INSERT_ROW = """
INSERT INTO attempt (key, attempt, time, request, reply, model, status, sha256)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What a look at a store found."""

    attempts: int
    """That are whole."""
    faults: tuple[str, ...]
    """What is wrong; none: nothing."""


def summary(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what a store holds: verdicts by judge and status, money by judge.

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
    """Look at every byte of a store, and change none.

    A store that was closed is as it was left, to the last byte. One whose last process was killed
    has no seal: there every row has its own checksum, and SQLite checks the rest.

    Raises:
        StoreError: there is none.
    """
    _require_store(path)
    with integrity.exclusive_lock(path) as alone:
        faults = [
            reason for reason in (integrity.seal_fault(path), _missing_log(path, alone)) if reason
        ]
    try:
        with closing(_read_only(path)) as connection:
            if (version := _schema_version(connection)) != VERSION:
                message = (
                    f"its layout is {version}, not {VERSION}: any use of it brings it up to date"
                )
                return StoreHealth(0, (*faults, message))
            reasons = list(_row_faults(connection))
            faults += [reason for reason in reasons if reason is not None]
            faults += _integrity_faults(connection)
    except DATABASE_ERRORS as error:
        return StoreHealth(0, (*faults, f"SQLite says: {error}"))
    return StoreHealth(sum(reason is None for reason in reasons), tuple(faults))


def repair(path: Path) -> tuple[int, Path]:
    """Move a store aside and make a new one of every attempt of it that is whole.

    Returns how many those are, and where the old file is.

    Raises:
        StoreError: there is none, somebody uses it, or the disk is full.
    """
    _require_store(path)
    with integrity.exclusive_lock(path) as alone:
        if not alone:
            raise StoreError(f"{path} is in use: wait for that to end, and repair it then")
    intact = {(row[0], row[1]): row for row in _intact_rows(path)}
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    damaged, rebuilt = (
        path.with_name(f"{path.name}.{word}") for word in (f"damaged-{stamp}", "new")
    )
    with report_disk_errors(path):
        rebuilt.unlink(missing_ok=True)
        _write_rows(rebuilt, intact.values(), _other_tables(path))
        for suffix in ("-wal", "-shm", ".seal"):
            if (companion := path.with_name(path.name + suffix)).exists():
                companion.rename(damaged.with_name(damaged.name + suffix))
        path.rename(damaged)
        rebuilt.rename(path)
        integrity.lock_of(rebuilt).unlink(missing_ok=True)
        if (new_seal := integrity.seal_of(rebuilt)).exists():
            new_seal.rename(integrity.seal_of(path))
    return len(intact), damaged


def export(path: Path, target: Path) -> int:
    """Write every attempt as a line of JSON, gzip where the name ends so; return how many.

    Raises:
        StoreError: there is no store, it is damaged, or the file cannot be written.
    """
    _require_store(path)
    count = 0
    opener = gzip.open if target.suffix == ".gz" else open
    with open_store(path) as store, report_disk_errors(target), opener(target, "wt") as file:
        for row in _verified_rows(store):
            file.write(json.dumps(dict(zip((*COLUMN_NAMES, "sha256"), row, strict=True))) + "\n")
            count += 1
    return count


def import_verdicts(path: Path, source: Path) -> tuple[int, int]:
    """Add a file's attempts to a store; return how many were new, and how many there were.

    Raises:
        InputError: the file cannot be read, or a line is not what was exported.
        StoreError: the store cannot be used.
    """
    rows = [
        _parse_line(source, i, line) for i, line in enumerate(read_jsonl(source, EXPORT_FORMAT), 1)
    ]
    new = 0
    with open_store(path) as store, store.transaction():
        for key, _, *columns in rows:
            new += _add_if_new(store, key, columns[:-1])
    return new, len(rows)


def _add_if_new(store: VerdictStore, key: str, columns: list[Any]) -> bool:
    """Add an attempt unless the very same reply is there."""
    execute = store.connection.execute
    _, _, reply, model, _ = columns
    existing = execute("SELECT reply, model FROM attempt WHERE key = ?", (key,)).fetchall()
    if (reply, model) in existing:
        return False
    row = (key, len(existing) + 1, *columns)
    execute(INSERT_ROW, (*row, checksum(row)))
    return True


def _parse_line(source: Path, number: int, line: dict[str, Any]) -> Row:
    row = tuple(line.get(name) for name in (*COLUMN_NAMES, "sha256"))
    if (reason := row_fault(row)) is not None:
        raise InputError(
            f"{source}: line {number} is no whole verdict ({reason}); nothing is added"
        )
    return row


def _intact_rows(path: Path) -> Iterator[Row]:
    """Yield every whole attempt: from the log and the tree where they hold, then from the pages."""
    with suppress(*DATABASE_ERRORS), closing(_read_only(path)) as connection:
        for row in connection.execute(f"SELECT {ATTEMPT_COLUMNS}, sha256 FROM attempt"):
            if row_fault(row) is None:
                yield row
    for salvaged in salvaged_rows(path):
        if len(salvaged) == len(COLUMN_NAMES) + 1:
            key, attempt, moment, request, reply, sha256, model, status = salvaged
            row = (key, attempt, moment, request, reply, model, status, sha256)
            if row_fault(row) is None:
                yield row


def row_fault(row: Row) -> str | None:
    """Say what is wrong with an attempt's columns and checksum; None: nothing."""
    columns = dict(zip((*COLUMN_NAMES, "sha256"), row, strict=True))
    if (
        not all(isinstance(columns[name], str) for name in TEXT_COLUMNS)
        or type(columns["attempt"]) is not int
    ):
        return "a column is missing or of another kind"
    if checksum(row[:-1]) != columns["sha256"]:
        return "its sha256 does not match"
    try:
        is_matching = digest(json.loads(columns["request"])) == columns["key"]
    except ValueError:
        return "its request is not JSON"
    return None if is_matching else "its key is not that of its request"


def _row_faults(connection: sqlite3.Connection) -> Iterator[str | None]:
    for row in connection.execute(f"SELECT {ATTEMPT_COLUMNS}, sha256 FROM attempt ORDER BY rowid"):
        reason = row_fault(row)
        yield reason and f"attempt {row[1]} of verdict {row[0]}: {reason}"


def _integrity_faults(connection: sqlite3.Connection) -> list[str]:
    messages = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    return [] if messages == ["ok"] else [f"SQLite says: {line}" for line in messages]


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _missing_log(path: Path, is_exclusive: bool) -> str | None:
    """Say so where a store was left open and its log is not there."""
    unsealed = is_exclusive and not integrity.seal_of(path).exists()
    if not unsealed or integrity.log_of(path).exists() or not _has_log(path):
        return None
    return "its write-ahead log is gone: what was judged last may be lost, and is asked again"


def _has_log(path: Path) -> bool:
    """Say whether a file is written through a log (bytes 18 and 19 of the header are 2)."""
    with open(path, "rb") as file:
        return file.read(20)[18:] == b"\x02\x02"


def _read_only(path: Path) -> sqlite3.Connection:
    """Open a store without a lock, a log or a change, where it was closed; else as a reader."""
    mode = "mode=ro" if integrity.log_of(path).exists() else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


def _write_rows(path: Path, rows: Iterable[Row], other_tables: Mapping[str, Sequence[Row]]) -> None:
    with open_store(path) as store, store.transaction():
        store.connection.executemany(INSERT_ROW, rows)
        for table, table_rows in other_tables.items():
            for row in table_rows:
                marks = ", ".join("?" * len(row))
                with suppress(sqlite3.IntegrityError):
                    store.connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)


def _other_tables(path: Path) -> dict[str, list[Row]]:
    """Return what can be read of calls and batches; they have no checksums of their own."""
    tables: dict[str, list[Row]] = {table: [] for table in COPIED_TABLES}
    for table, rows in tables.items():
        with suppress(*DATABASE_ERRORS), closing(_read_only(path)) as connection:
            for row in connection.execute(f"SELECT * FROM {table}"):
                rows.append(row)
    return tables


def _verified_rows(store: VerdictStore) -> Iterator[Row]:
    with store_errors(store.path):
        for row in store.connection.execute(
            f"SELECT {ATTEMPT_COLUMNS}, sha256 FROM attempt ORDER BY rowid"
        ):
            if (reason := row_fault(row)) is not None:
                raise StoreError(
                    f"attempt {row[1]} of verdict {row[0]} in {store.path} is damaged ({reason}): "
                    "`harness verdicts repair` keeps all the others"
                )
            yield row


def _require_store(path: Path) -> None:
    if not path.is_file():
        raise StoreError(f"there is no verdict store at {path}: name the place with --workspace")
