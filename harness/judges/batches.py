"""Batches in the store: an intention first, then the judge's own names, then line by line.

Every step is on the disk before the next one needs it. A line counts once, in the transaction that
keeps its reply: neither a doubled line nor a process that was killed can count it again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.judges.store import CALL, Attempt, Call, VerdictStore, now, usable
from harness.judges.wire import Body
from harness.seeds import canonical

PREFIX = "batch"
"""By which a claim's owner is known to be a batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was meant, submitted or ended, and is not fetched."""

    name: str
    """Ours: of the uploaded file, in the batch's metadata, and of who claims its requests."""
    file: str | None
    """The judge's name of the uploaded file."""
    batch: str | None
    """The judge's name of the batch."""


@dataclass(frozen=True, slots=True)
class Line:
    """What came of one request."""

    key: str
    attempt: Attempt
    call: Call


def intend(store: VerdictStore, judge: str, bodies: Mapping[str, Body]) -> Batch:
    """Write down a batch of requests, by key, which is from now on who claims them.

    Raises:
        StoreError: the store cannot be written.
    """
    name = f"{PREFIX}-{uuid.uuid4().hex}"
    ask = store.connection
    with store.changing():
        ask.execute("INSERT INTO batch VALUES (?, ?, NULL, NULL, 'meant', ?)", (name, judge, now()))
        ask.execute("INSERT INTO owner VALUES (?, '', 0, '', 0)", (name,))
        for key, body in bodies.items():
            ask.execute("INSERT OR REPLACE INTO claim VALUES (?, ?)", (key, name))
            ask.execute(
                "INSERT INTO line (batch, key, request, state) VALUES (?, ?, ?, 'asked')",
                (name, key, canonical(body)),
            )
    return Batch(name, None, None)


def unfetched(store: VerdictStore, judge: str) -> list[Batch]:
    """Return a judge's batches that are not fetched, the oldest first.

    Raises:
        StoreError: the store cannot be read.
    """
    query = "SELECT name, file, batch FROM batch WHERE judge = ? AND state != 'fetched'"
    with usable(store.path):
        rows = store.connection.execute(f"{query} ORDER BY rowid", (judge,)).fetchall()
    return [Batch(*row) for row in rows]


def named(store: VerdictStore, batch: Batch, *, file: str, at: str | None = None) -> Batch:
    """Write down what the judge calls a batch's file, and the batch.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.changing():
        store.connection.execute(
            "UPDATE batch SET file = ?, batch = ?, state = ? WHERE name = ?",
            (file, at, "submitted" if at else "uploaded", batch.name),
        )
    return Batch(batch.name, file, at)


def requests(store: VerdictStore, batch: Batch, *states: str) -> dict[str, Body]:
    """Return a batch's requests by key, those in some states, or all.

    Raises:
        StoreError: the store cannot be read.
    """
    with usable(store.path):
        rows = store.connection.execute(
            "SELECT key, request, state FROM line WHERE batch = ? ORDER BY rowid", (batch.name,)
        ).fetchall()
    return {key: json.loads(text) for key, text, state in rows if not states or state in states}


def keep(store: VerdictStore, batch: Batch, lines: Iterable[Line]) -> int:
    """Keep replies, each only if its line is still open; return how many were.

    Raises:
        StoreError: the store cannot be written; none of them is kept.
    """
    count = 0
    with store.changing():
        for line in lines:
            mark = "UPDATE line SET state = 'kept' WHERE batch = ? AND key = ? AND state = 'asked'"
            if store.connection.execute(mark, (batch.name, line.key)).rowcount:
                store.insert(line.key, line.attempt)
                store.connection.execute(CALL, line.call.row())
                count += 1
    return count


def end(store: VerdictStore, batch: Batch, failures: Mapping[str, str]) -> int:
    """Close a batch: what has no reply is claimed no more; return how many requests those are.

    Raises:
        StoreError: the store cannot be written.
    """
    ask = store.connection
    with store.changing():
        for key, told in failures.items():
            ask.execute(
                "UPDATE line SET state = 'failed', told = ? "
                "WHERE batch = ? AND key = ? AND state = 'asked'",
                (told, batch.name, key),
            )
        ask.execute(
            "UPDATE line SET state = 'missing' WHERE batch = ? AND state = 'asked'", (batch.name,)
        )
        ask.execute("UPDATE batch SET state = 'fetched' WHERE name = ?", (batch.name,))
        ask.execute("DELETE FROM claim WHERE owner = ?", (batch.name,))
        ask.execute("DELETE FROM owner WHERE id = ?", (batch.name,))
        left = "SELECT count(*) FROM line WHERE batch = ? AND state != 'kept'"
        count: int = ask.execute(left, (batch.name,)).fetchone()[0]
    return count


def in_vain(store: VerdictStore, keys: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return by key how often it has come back without a reply, and what was told last.

    Raises:
        StoreError: the store cannot be read.
    """
    found: dict[str, tuple[int, str]] = {}
    for key, state, told in store.rows("SELECT key, state, told FROM line", keys, "rowid"):
        if state in ("failed", "missing"):
            found[key] = (found.get(key, (0, ""))[0] + 1, told or "its line was missing")
    return found
