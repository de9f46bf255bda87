"""Batches in the store: first the plan, then the server's names, then each line's reply.

Every step is on the disk before the next one depends on it. A line counts once, in the transaction
that stores its reply: neither a duplicated line nor a killed process can count it twice.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.core.seeds import canonical_json
from harness.judges.store.database import (
    TIME_FORMAT,
    Attempt,
    Call,
    VerdictStore,
    now,
    store_errors,
)
from harness.judges.store.leases import BATCH_PREFIX, batch_owner
from harness.judges.store.schema import Row
from harness.types import Body

FAILED_STATES = ("failed", "missing")
DAY_SECONDS = 86_400
OVER_LIMIT_BATCHES = """
SELECT count(*), sum(length(line.request)), max(line.reason) FROM line
JOIN batch ON batch.name = line.batch
WHERE batch.judge = ? AND batch.time > ? AND line.state = 'failed'
  AND substr(line.reason, 1, ?) = ? GROUP BY line.batch
"""


@dataclass(frozen=True, slots=True)
class JudgeBatch:
    """A batch that was planned or submitted and has not been fetched."""

    name: str
    """Our name: of the uploaded file, in the batch's metadata, and of the owner of its claims."""
    file_id: str | None
    """The server's name of the uploaded file."""
    batch_id: str | None
    """The server's name of the batch."""


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """The outcome of one request."""

    key: str
    attempt: Attempt
    call: Call


def create_batch(store: VerdictStore, judge: str, bodies: Mapping[str, Body]) -> JudgeBatch:
    """Record a new batch and assign it the claims on its requests, which are given by key.

    Raises:
        StoreError: the store cannot be written.
    """
    name = f"{BATCH_PREFIX}{uuid.uuid4().hex}"
    lines = [(name, key, canonical_json(body), "pending", "") for key, body in bodies.items()]
    with store.transaction():
        store.put("batch", [(name, judge, None, None, "planned", now())])
        store.put("owner", [batch_owner(name).row()])
        store.put("claim", [(key, name) for key in bodies], update=True)
        store.put("line", lines)
    return JudgeBatch(name, None, None)


def unfetched_batches(store: VerdictStore, judge: str) -> list[JudgeBatch]:
    """Return a judge's batches that have not been fetched, oldest first.

    Raises:
        StoreError: the store cannot be read, or a row is damaged.
    """
    return [
        JudgeBatch(name, file_id, batch_id)
        for name, _, file_id, batch_id, state, _ in store.rows("batch", "judge", [judge])
        if state != "fetched"
    ]


def current_state(store: VerdictStore, batch: JudgeBatch) -> JudgeBatch:
    """Return a batch with the names that another process may have recorded meanwhile.

    Raises:
        StoreError: the store cannot be read, or a row is damaged.
    """
    for name, _, file_id, batch_id, _, _ in store.rows("batch", "name", [batch.name]):
        return JudgeBatch(name, file_id, batch_id)
    return batch


def record_ids(
    store: VerdictStore, batch: JudgeBatch, *, file_id: str, batch_id: str | None = None
) -> JudgeBatch:
    """Record the server's names of a batch's file and of the batch.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.transaction():
        _update_batch(store, batch, "submitted" if batch_id else "uploaded", file_id, batch_id)
    return JudgeBatch(batch.name, file_id, batch_id)


def batch_requests(store: VerdictStore, batch: JudgeBatch, *states: str) -> dict[str, Body]:
    """Return a batch's requests by key: those in some states, or all.

    Raises:
        StoreError: the store cannot be read, or a row is damaged.
    """
    return {
        key: json.loads(text)
        for _, key, text, state, _ in store.rows("line", "batch", [batch.name])
        if not states or state in states
    }


def store_entries(store: VerdictStore, batch: JudgeBatch, entries: Iterable[BatchEntry]) -> int:
    """Store the replies whose lines are still pending; return how many those are.

    Raises:
        StoreError: the store cannot be written; none of them is stored.
    """
    by_key = {entry.key: entry for entry in entries}
    with store.transaction():
        lines = list(_pending_lines(store, "key", list(by_key), batch))
        for _, key, *_ in lines:
            store.add_attempt(key, by_key[key].attempt)
        store.put("call", [by_key[line[1]].call.row() for line in lines])
        store.put("line", [(*line[:3], "stored", "") for line in lines], update=True)
    return len(lines)


def close_batch(store: VerdictStore, batch: JudgeBatch, failures: Mapping[str, str]) -> int:
    """Close a batch and drop its claims; return the number of requests without a reply.

    Args:
        store: the store.
        batch: the batch.
        failures: by key, why a request failed; the other pending ones are missing.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.transaction():
        lines = [
            (*line[:3], "failed" if line[1] in failures else "missing", failures.get(line[1], ""))
            for line in _pending_lines(store, "batch", [batch.name], batch)
        ]
        store.put("line", lines, update=True)
        _update_batch(store, batch, "fetched", batch.file_id, batch.batch_id)
        store.drop_owners([batch.name])
        states = [state for _, _, _, state, _ in store.rows("line", "batch", [batch.name])]
    return sum(state != "stored" for state in states)


def failed_submissions(
    store: VerdictStore, keys: Sequence[str], besides: str
) -> dict[str, tuple[int, str]]:
    """Return, by key, how often a request came back without a reply, and the last reason.

    Args:
        store: the store.
        keys: of the requests.
        besides: how reasons begin that are not about a request, and do not count.

    Raises:
        StoreError: the store cannot be read, or a row is damaged.
    """
    failures: dict[str, tuple[int, str]] = {}
    for _, key, _, state, reason in store.rows("line", "key", keys):
        if state in FAILED_STATES and not reason.startswith(besides):
            failures[key] = (failures.get(key, (0, ""))[0] + 1, reason or "its line was missing")
    return failures


def over_limit_batches(store: VerdictStore, judge: str, reason: str) -> list[tuple[int, int, str]]:
    """Return the batches of the last day that failed for a reason: requests, characters, reason.

    Args:
        store: the store.
        judge: whose batches.
        reason: how the reason begins.

    Raises:
        StoreError: the store cannot be read.
    """
    yesterday = time.strftime(TIME_FORMAT, time.gmtime(time.time() - DAY_SECONDS))
    parameters = (judge, yesterday, len(reason), reason)
    with store_errors(store.path):
        return store.connection.execute(OVER_LIMIT_BATCHES, parameters).fetchall()


def _pending_lines(
    store: VerdictStore, column: str, values: Sequence[str], batch: JudgeBatch
) -> Iterator[Row]:
    for line in store.rows("line", column, values):
        if line[0] == batch.name and line[3] == "pending":
            yield line


def _update_batch(
    store: VerdictStore, batch: JudgeBatch, state: str, file_id: str | None, batch_id: str | None
) -> None:
    for name, judge, _, _, _, created in list(store.rows("batch", "name", [batch.name])):
        store.put("batch", [(name, judge, file_id, batch_id, state, created)], update=True)
