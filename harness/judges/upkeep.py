"""Looks after a verdict store: what is in it, whether it is whole, and what can be saved of it."""

from __future__ import annotations

import gzip
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError, StoreError
from harness.files import writing
from harness.judges import salvage, seal
from harness.judges.layout import VERSION, checksum
from harness.judges.store import BROKEN, COLUMNS, VerdictStore, opened, usable
from harness.reading import read_lines
from harness.seeds import digest

NAMES = tuple(COLUMNS.split(", "))
TEXTS = tuple(name for name in NAMES if name != "attempt")
EXPECTED = "verdicts as `harness verdicts export` writes them"
KEPT = ("call", "batch", "line")
"""Tables that a repair keeps besides the attempts."""
SUMMARY = """
SELECT json_extract(request, '$.model'), model, status, count(*), min(time), max(time)
FROM attempt GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
MONEY = """
SELECT model, count(*), sum(prompt_tokens), sum(completion_tokens),
  CASE WHEN count(dollars) = count(*) THEN sum(dollars) END FROM call GROUP BY 1 ORDER BY 1
"""
INSERT = """
INSERT INTO attempt (key, attempt, time, request, reply, model, status, sha256)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Health:
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
    _check_there(path)
    with opened(path) as store, usable(path):
        rows = store.connection.execute(SUMMARY).fetchall()
        money = store.connection.execute(MONEY).fetchall()
    heads = ("judge", "served", "status", "attempts", "first", "last")
    costs = ("judge", "calls", "prompt_tokens", "completion_tokens", "dollars")
    return {
        "verdicts": [dict(zip(heads, row, strict=True)) for row in rows],
        "calls": [dict(zip(costs, row, strict=True)) for row in money],
    }


def verify(path: Path) -> Health:
    """Look at every byte of a store, and change none.

    A store that was closed is as it was left, to the last byte. One whose last process was killed
    has no seal: there every row has its own checksum, and SQLite checks the rest.

    Raises:
        StoreError: there is none.
    """
    _check_there(path)
    with seal.alone(path) as alone:
        faults = [told for told in (seal.broken(path), _log_gone(path, alone)) if told]
    try:
        with closing(_read_only(path)) as connection:
            if (version := _layout(connection)) != VERSION:
                told = f"its layout is {version}, not {VERSION}: any use of it brings it up to date"
                return Health(0, (*faults, told))
            found = list(_examined(connection))
            faults += [told for told in found if told is not None]
            faults += _structure(connection)
    except BROKEN as error:
        return Health(0, (*faults, f"SQLite says: {error}"))
    return Health(sum(told is None for told in found), tuple(faults))


def repair(path: Path) -> tuple[int, Path]:
    """Move a store aside and make a new one of every attempt of it that is whole.

    Returns how many those are, and where the old file is.

    Raises:
        StoreError: there is none, somebody uses it, or the disk is full.
    """
    _check_there(path)
    with seal.alone(path) as alone:
        if not alone:
            raise StoreError(f"{path} is in use: wait for that to end, and repair it then")
    found = {(row[0], row[1]): row for row in _rescued(path)}
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside, whole = (path.with_name(f"{path.name}.{word}") for word in (f"damaged-{stamp}", "new"))
    with writing(path):
        whole.unlink(missing_ok=True)
        _fill(whole, found.values(), _others(path))
        for suffix in ("-wal", "-shm", ".seal"):
            if (beside := path.with_name(path.name + suffix)).exists():
                beside.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
        whole.rename(path)
        seal.lock_of(whole).unlink(missing_ok=True)
        if (made := seal.seal_of(whole)).exists():
            made.rename(seal.seal_of(path))
    return len(found), aside


def export(path: Path, target: Path) -> int:
    """Write every attempt as a line of JSON, gzip where the name ends so; return how many.

    Raises:
        StoreError: there is no store, it is damaged, or the file cannot be written.
    """
    _check_there(path)
    count = 0
    make = gzip.open if target.suffix == ".gz" else open
    with opened(path) as store, writing(target), make(target, "wt") as file:
        for row in _whole(store):
            file.write(json.dumps(dict(zip((*NAMES, "sha256"), row, strict=True))) + "\n")
            count += 1
    return count


def bring(path: Path, source: Path) -> tuple[int, int]:
    """Add a file's attempts to a store; return how many were new, and how many there were.

    Raises:
        InputError: the file cannot be read, or a line is not what was exported.
        StoreError: the store cannot be used.
    """
    rows = [_imported(source, i, line) for i, line in enumerate(read_lines(source, EXPECTED), 1)]
    new = 0
    with opened(path) as store, store.changing():
        for key, _, *told in rows:
            new += _added(store, key, told[:-1])
    return new, len(rows)


def _added(store: VerdictStore, key: str, told: list[Any]) -> bool:
    """Add an attempt unless the very same reply is there."""
    ask = store.connection.execute
    _, _, reply, model, _ = told
    there = ask("SELECT reply, model FROM attempt WHERE key = ?", (key,)).fetchall()
    if (reply, model) in there:
        return False
    row = (key, len(there) + 1, *told)
    ask(INSERT, (*row, checksum(row)))
    return True


def _imported(source: Path, number: int, line: dict[str, Any]) -> Row:
    row = tuple(line.get(name) for name in (*NAMES, "sha256"))
    if (told := fault(row)) is not None:
        raise InputError(f"{source}: line {number} is no whole verdict ({told}); nothing is added")
    return row


def _rescued(path: Path) -> Iterator[Row]:
    """Yield every whole attempt: from the log and the tree where they hold, then from the pages."""
    with suppress(*BROKEN), closing(_read_only(path)) as connection:
        for row in connection.execute(f"SELECT {COLUMNS}, sha256 FROM attempt"):
            if fault(row) is None:
                yield row
    for found in salvage.rows(path):
        if len(found) == len(NAMES) + 1:
            key, attempt, moment, request, reply, sha256, model, status = found
            row = (key, attempt, moment, request, reply, model, status, sha256)
            if fault(row) is None:
                yield row


def fault(row: Row) -> str | None:
    """Say what is wrong with an attempt's columns and checksum; None: nothing."""
    told = dict(zip((*NAMES, "sha256"), row, strict=True))
    if not all(isinstance(told[name], str) for name in TEXTS) or type(told["attempt"]) is not int:
        return "a column is missing or of another kind"
    if checksum(row[:-1]) != told["sha256"]:
        return "its sha256 does not match"
    try:
        same = digest(json.loads(told["request"])) == told["key"]
    except ValueError:
        return "its request is not JSON"
    return None if same else "its key is not that of its request"


def _examined(connection: sqlite3.Connection) -> Iterator[str | None]:
    for row in connection.execute(f"SELECT {COLUMNS}, sha256 FROM attempt ORDER BY rowid"):
        told = fault(row)
        yield told and f"attempt {row[1]} of verdict {row[0]}: {told}"


def _structure(connection: sqlite3.Connection) -> list[str]:
    told = [row[0] for row in connection.execute("PRAGMA integrity_check(10)")]
    return [] if told == ["ok"] else [f"SQLite says: {line}" for line in told]


def _layout(connection: sqlite3.Connection) -> int:
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def _log_gone(path: Path, alone: bool) -> str | None:
    """Say so where a store was left open and its log is not there."""
    unsealed = alone and not seal.seal_of(path).exists()
    if not unsealed or seal.log_of(path).exists() or not _has_log(path):
        return None
    return "its write-ahead log is gone: what was judged last may be lost, and is asked again"


def _has_log(path: Path) -> bool:
    """Say whether a file is written through a log (bytes 18 and 19 of the header are 2)."""
    with open(path, "rb") as file:
        return file.read(20)[18:] == b"\x02\x02"


def _read_only(path: Path) -> sqlite3.Connection:
    """Open a store without a lock, a log or a change, where it was closed; else as a reader."""
    mode = "mode=ro" if seal.log_of(path).exists() else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)


def _fill(path: Path, rows: Iterable[Row], others: Mapping[str, Sequence[Row]]) -> None:
    with opened(path) as store, store.changing():
        store.connection.executemany(INSERT, rows)
        for table, found in others.items():
            for row in found:
                marks = ", ".join("?" * len(row))
                with suppress(sqlite3.IntegrityError):
                    store.connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)


def _others(path: Path) -> dict[str, list[Row]]:
    """Return what can be read of calls and batches; they have no checksums of their own."""
    found: dict[str, list[Row]] = {table: [] for table in KEPT}
    for table, rows in found.items():
        with suppress(*BROKEN), closing(_read_only(path)) as connection:
            for row in connection.execute(f"SELECT * FROM {table}"):
                rows.append(row)
    return found


def _whole(store: VerdictStore) -> Iterator[Row]:
    with usable(store.path):
        for row in store.connection.execute(
            f"SELECT {COLUMNS}, sha256 FROM attempt ORDER BY rowid"
        ):
            if (told := fault(row)) is not None:
                raise StoreError(
                    f"attempt {row[1]} of verdict {row[0]} in {store.path} is damaged ({told}): "
                    "`harness verdicts repair` keeps all the others"
                )
            yield row


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise StoreError(f"there is no verdict store at {path}: name the place with --workspace")
