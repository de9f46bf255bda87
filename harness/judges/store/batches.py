"""Batches in the store: an intention first, then the judge's own names, then line by line.

Every step is on the disk before the next one needs it. A line counts once, in the transaction that
keeps its reply: neither a doubled line nor a process that was killed can count it again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.core.seeds import canonical_json
from harness.judges.store.database import (
    INSERT_CALL,
    Attempt,
    Call,
    VerdictStore,
    now,
    store_errors,
)
from harness.types import Body

OWNER_PREFIX = "batch"
"""By which a claim's owner is known to be a batch."""


@dataclass(frozen=True, slots=True)
class JudgeBatch:
    """A batch that was meant, submitted or ended, and is not fetched."""

    name: str
    """Ours: of the uploaded file, in the batch's metadata, and of who claims its requests."""
    file_id: str | None
    """The judge's name of the uploaded file."""
    batch_id: str | None
    """The judge's name of the batch."""


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """What came of one request."""

    key: str
    attempt: Attempt
    call: Call


def create_batch(store: VerdictStore, judge: str, bodies: Mapping[str, Body]) -> JudgeBatch:
    """Write down a batch of requests, by key, which is from now on who claims them.

    Raises:
        StoreError: the store cannot be written.
    """
    name = f"{OWNER_PREFIX}-{uuid.uuid4().hex}"
    connection = store.connection
    with store.transaction():
        connection.execute(
            "INSERT INTO batch VALUES (?, ?, NULL, NULL, 'meant', ?)", (name, judge, now())
        )
        connection.execute("INSERT INTO owner VALUES (?, '', 0, '', 0)", (name,))
        for key, body in bodies.items():
            connection.execute("INSERT OR REPLACE INTO claim VALUES (?, ?)", (key, name))
            connection.execute(
                "INSERT INTO line (batch, key, request, state) VALUES (?, ?, ?, 'asked')",
                (name, key, canonical_json(body)),
            )
    return JudgeBatch(name, None, None)


def unfetched_batches(store: VerdictStore, judge: str) -> list[JudgeBatch]:
    """Return a judge's batches that are not fetched, the oldest first.

    Raises:
        StoreError: the store cannot be read.
    """
    query = "SELECT name, file, batch FROM batch WHERE judge = ? AND state != 'fetched'"
    with store_errors(store.path):
        rows = store.connection.execute(f"{query} ORDER BY rowid", (judge,)).fetchall()
    return [JudgeBatch(*row) for row in rows]


def record_ids(
    store: VerdictStore, batch: JudgeBatch, *, file_id: str, batch_id: str | None = None
) -> JudgeBatch:
    """Write down what the judge calls a batch's file, and the batch.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.transaction():
        store.connection.execute(
            "UPDATE batch SET file = ?, batch = ?, state = ? WHERE name = ?",
            (file_id, batch_id, "submitted" if batch_id else "uploaded", batch.name),
        )
    return JudgeBatch(batch.name, file_id, batch_id)


def batch_requests(store: VerdictStore, batch: JudgeBatch, *states: str) -> dict[str, Body]:
    """Return a batch's requests by key, those in some states, or all.

    Raises:
        StoreError: the store cannot be read.
    """
    with store_errors(store.path):
        rows = store.connection.execute(
            "SELECT key, request, state FROM line WHERE batch = ? ORDER BY rowid", (batch.name,)
        ).fetchall()
    return {key: json.loads(text) for key, text, state in rows if not states or state in states}


def keep_entries(store: VerdictStore, batch: JudgeBatch, entries: Iterable[BatchEntry]) -> int:
    """Keep replies, each only if its line is still open; return how many were.

    Raises:
        StoreError: the store cannot be written; none of them is kept.
    """
    count = 0
    with store.transaction():
        for entry in entries:
            statement = (
                "UPDATE line SET state = 'kept' WHERE batch = ? AND key = ? AND state = 'asked'"
            )
            if store.connection.execute(statement, (batch.name, entry.key)).rowcount:
                store.insert(entry.key, entry.attempt)
                store.connection.execute(INSERT_CALL, entry.call.row())
                count += 1
    return count


def close_batch(store: VerdictStore, batch: JudgeBatch, failures: Mapping[str, str]) -> int:
    """Close a batch: what has no reply is claimed no more; return how many requests those are.

    Raises:
        StoreError: the store cannot be written.
    """
    connection = store.connection
    with store.transaction():
        for key, reason in failures.items():
            connection.execute(
                "UPDATE line SET state = 'failed', told = ? "
                "WHERE batch = ? AND key = ? AND state = 'asked'",
                (reason, batch.name, key),
            )
        connection.execute(
            "UPDATE line SET state = 'missing' WHERE batch = ? AND state = 'asked'", (batch.name,)
        )
        connection.execute("UPDATE batch SET state = 'fetched' WHERE name = ?", (batch.name,))
        connection.execute("DELETE FROM claim WHERE owner = ?", (batch.name,))
        connection.execute("DELETE FROM owner WHERE id = ?", (batch.name,))
        query = "SELECT count(*) FROM line WHERE batch = ? AND state != 'kept'"
        count: int = connection.execute(query, (batch.name,)).fetchone()[0]
    return count


def failed_submissions(store: VerdictStore, keys: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return by key how often it has come back without a reply, and what was told last.

    Raises:
        StoreError: the store cannot be read.
    """
    failures: dict[str, tuple[int, str]] = {}
    for key, state, reason in store.rows("SELECT key, state, told FROM line", keys, "rowid"):
        if state in ("failed", "missing"):
            failures[key] = (failures.get(key, (0, ""))[0] + 1, reason or "its line was missing")
    return failures
