"""The verdict store: every reply that a judge has given, in one SQLite file.

A row is an attempt, keyed by the SHA-256 of the whole request. Nothing is overwritten, and what was
added is on the disk. Replies are stored as received, so that a better parser can parse them again.
A row that does not match its checksum is never served. Several processes may use one store: each
claims a request before it asks.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.io import report_disk_errors
from harness.core.seeds import canonical_json, digest
from harness.errors import StoreError
from harness.judges.store import leases
from harness.judges.store.integrity import (
    checksum_fault,
    damaged_error,
    drop_checksum,
    shared_lock,
)
from harness.judges.store.leases import BATCH_PREFIX, Owner
from harness.judges.store.read_only import is_read_only, open_read_only
from harness.judges.store.schema import Row, insert_sql, prepare, with_checksum
from harness.types import Body

BUSY_SECONDS = 120.0
WAIT_SECONDS = 5.0
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
CHUNK = 500
"""Keys in one query."""
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second where its own message repeats bytes of a damaged schema."""


def key_of(body: Body) -> str:
    """Return the key of a request's verdicts: the SHA-256 of its canonical JSON."""
    return digest(body)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request and a judge's reply to it."""

    body: Body
    reply: str
    """The response body; for a refusal, the server's message in one line."""
    model: str
    """The model that the server names; empty for a refusal."""
    parsable: bool
    quarantined: bool = False
    """Whether a model replied that was not requested."""
    refused: bool = False
    """Whether the server refused the request."""

    @property
    def status(self) -> str:
        """The outcome: parsed, unparsed, quarantined or refused."""
        if self.refused:
            return "refused"
        return "quarantined" if self.quarantined else "parsed" if self.parsable else "unparsed"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was, or may have been, billed."""

    key: str
    outcome: str
    """An attempt's status, or the reason of a failure."""
    model: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    """Whether the token counts are ours: the server reported none, or what cannot be."""
    dollars: float | None
    """None: no price is known."""
    seconds: float | None

    def row(self) -> Row:
        """Return a row of the table `call`."""
        tokens = (self.prompt_tokens, self.completion_tokens, int(self.estimated))
        dollars = None if self.dollars is None else float(self.dollars)
        seconds = None if self.seconds is None else float(self.seconds)
        return (self.key, now(), self.outcome, self.model, *tokens, dollars, seconds)


@dataclass
class ClaimOutcome:
    """Which requests a process may ask, and why it may not ask the others."""

    granted: set[str] = field(default_factory=set)
    """The process may ask; no other will until it is done."""
    answered: set[str] = field(default_factory=set)
    """A reply has been stored in the meantime."""
    held_elsewhere: set[str] = field(default_factory=set)
    """Another process is asking."""
    batched: set[str] = field(default_factory=set)
    """It is in a batch that has not been fetched."""


@dataclass(frozen=True)
class VerdictStore:
    """An open store; see `open_store`."""

    path: Path
    connection: sqlite3.Connection

    def add(self, attempts: Iterable[Attempt], calls: Iterable[Call] = ()) -> None:
        """Store replies, each as the next attempt at its request, and drop the requests' claims.

        On return they are on the disk.

        Raises:
            StoreError: the database cannot be written; none of them is stored.
        """
        entries = [(key_of(attempt.body), attempt) for attempt in attempts]
        rows = [call.row() for call in calls]
        with self.transaction():
            for key, attempt in entries:
                self.add_attempt(key, attempt)
            self.put("call", rows)

    def add_attempt(self, key: str, attempt: Attempt) -> None:
        """Store one reply within an open transaction."""
        execute = self.connection.execute
        number = execute("SELECT count(*) FROM attempt WHERE key = ?", (key,)).fetchone()[0] + 1
        row = (key, number, now(), canonical_json(attempt.body), attempt.reply)
        self.put("attempt", [(*row, attempt.model, attempt.status)])
        execute("DELETE FROM claim WHERE key = ?", (key,))

    def put(self, table: str, rows: Iterable[Row], *, update: bool = False) -> None:
        """Write rows with their checksums within an open transaction.

        Args:
            table: the table.
            rows: the columns of each row, without the checksum.
            update: whether a row replaces the one of the same primary key.
        """
        sealed = (with_checksum(table, row) for row in rows)
        self.connection.executemany(insert_sql(table, update=update), sealed)

    def rows(
        self, table: str, column: str, values: Sequence[str], order: str = "rowid"
    ) -> Iterator[Row]:
        """Yield the rows whose `column` has one of the values, without their checksums.

        Raises:
            StoreError: the database cannot be read, or a row is damaged.
        """
        for row in self._query(f"SELECT * FROM {table}", column, values, order):
            if fault := checksum_fault(table, row):
                raise damaged_error(self.path, table, row, fault)
            yield row[:-1]

    def replies(
        self, keys: Iterable[str], models: Collection[str] | None = None
    ) -> dict[str, list[str]]:
        """Return the replies to each request that has any, by key, in the order of the attempts.

        Args:
            keys: the requests' keys.
            models: the models that may have replied; None: any, quarantined replies left out.

        Raises:
            StoreError: the database cannot be read, or a reply is damaged.
        """
        replies: dict[str, list[str]] = {}
        for key, _, _, _, reply, model, status in self._attempts(keys):
            if _counts_as_reply(model, status, models):
                replies.setdefault(key, []).append(reply)
        return replies

    def refusals(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the server's reason, by key, for each request whose last attempt was refused.

        Raises:
            StoreError: the database cannot be read, or a refusal is damaged.
        """
        last = {key: (reply, status) for key, _, _, _, reply, _, status in self._attempts(keys)}
        return {key: reply for key, (reply, status) in last.items() if status == "refused"}

    def claim(
        self, wanted: Mapping[str, int], owner: Owner, models: Collection[str] | None = None
    ) -> ClaimOutcome:
        """Claim requests.

        Args:
            wanted: by key, the number of replies that the caller knows of.
            owner: the claimant.
            models: the models whose replies count, as for `replies`.

        Raises:
            StoreError: the database cannot be used.
        """
        outcome = ClaimOutcome()
        with self.transaction():
            self.put("owner", [owner.row()], update=True)
            reply_counts = self._count_replies(list(wanted), models)
            holders = self._claim_holders(list(wanted))
            for key, known_count in wanted.items():
                holder = holders.get(key, owner.id)
                if reply_counts[key] > known_count:
                    outcome.answered.add(key)
                elif holder == owner.id:
                    outcome.granted.add(key)
                elif holder.startswith(BATCH_PREFIX):
                    outcome.batched.add(key)
                else:
                    outcome.held_elsewhere.add(key)
            self.put("claim", [(key, owner.id) for key in outcome.granted], update=True)
        return outcome

    def release(self, owner: Owner) -> None:
        """Drop every claim of an owner; write nothing if it has claimed nothing."""
        with store_errors(self.path):
            query = "SELECT 1 FROM owner WHERE id = ?"
            has_claimed = self.connection.execute(query, (owner.id,)).fetchone()
        if has_claimed:
            with self.transaction():
                self.drop_owners([owner.id])

    def drop_owners(self, names: Collection[str]) -> None:
        """Delete owners and their claims within an open transaction."""
        for name in names:
            self.connection.execute("DELETE FROM claim WHERE owner = ?", (name,))
            self.connection.execute("DELETE FROM owner WHERE id = ?", (name,))

    def calls(self, keys: Iterable[str]) -> Iterator[Row]:
        """Yield outcome, prompt tokens, completion tokens, estimated, dollars, seconds of calls.

        Raises:
            StoreError: the database cannot be read, or a row is damaged.
        """
        for _, _, outcome, _, *figures in self.rows("call", "key", list(keys)):
            yield (outcome, *figures)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction, after a wait for other processes.

        Raises:
            StoreError: the database cannot be written; nothing is changed.
        """
        with store_errors(self.path):
            if is_read_only(self.path):
                raise sqlite3.OperationalError("it is readonly: stored verdicts can be used alone")
            drop_checksum(self.path)
            retry_while_busy(lambda: self.connection.execute("BEGIN IMMEDIATE"))
            try:
                yield
                retry_while_busy(lambda: self.connection.execute("COMMIT"))
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def _query(
        self, select: str, column: str, values: Sequence[str], order: str = "rowid"
    ) -> Iterator[Row]:
        with store_errors(self.path):
            for start in range(0, len(values), CHUNK):
                chunk = values[start : start + CHUNK]
                marks = ", ".join("?" * len(chunk))
                query = f"{select} WHERE {column} IN ({marks}) ORDER BY {order}"
                yield from self.connection.execute(query, chunk)

    def _attempts(self, keys: Iterable[str]) -> Iterator[Row]:
        return self.rows("attempt", "key", list(keys), "key, attempt")

    def _count_replies(self, keys: list[str], models: Collection[str] | None) -> dict[str, int]:
        counts: dict[str, int] = defaultdict(int)
        for key, model, status in self._query(
            "SELECT key, model, status FROM attempt", "key", keys
        ):
            counts[key] += _counts_as_reply(model, status, models)
        return counts

    def _claim_holders(self, keys: list[str]) -> dict[str, str]:
        """Return the owner of each claimed key; drop the claims of owners that are dead."""
        holders: dict[str, str] = dict(self.rows("claim", "key", keys))
        if not holders:
            return holders
        query = "SELECT id, host, pid, started, heartbeat FROM owner"
        rows = self.connection.execute(query).fetchall()
        living = {name for name, *lease in rows if leases.is_alive(*lease)}
        self.drop_owners({name for name, *_ in rows} - living)
        self.drop_owners({name for name in holders.values() if name not in living})
        return {key: name for key, name in holders.items() if name in living}


def _counts_as_reply(model: str, status: str, models: Collection[str] | None) -> bool:
    if status == "refused":
        return False
    return status != "quarantined" if models is None else model in models


@contextmanager
def open_store(path: Path) -> Iterator[VerdictStore]:
    """Open a store, created where there is none, and close it with the context.

    One that cannot be written is opened for reading alone.

    Raises:
        StoreError: the file is no store of this version, or cannot be used.
    """
    if is_read_only(path):
        with store_errors(path), open_read_only(path) as connection:
            yield VerdictStore(path, connection)
        return
    with report_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with shared_lock(path), store_errors(path):
        timeout = min(WAIT_SECONDS, BUSY_SECONDS)
        connection = sqlite3.connect(
            path,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,  # inside an event loop another thread asks, and this one waits
        )
        try:
            retry_while_busy(lambda: prepare(path, connection))
            yield VerdictStore(path, connection)
        finally:
            connection.close()


def retry_while_busy(operation: Any) -> Any:
    """Use a database that other processes use too; wait for them with random pauses.

    Raises:
        sqlite3.Error: the others held it for too long, or it cannot be used.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return operation()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.005, 0.05))


def is_busy(error: sqlite3.Error) -> bool:
    """Say whether another process holds a database."""
    return "locked" in str(error) or "busy" in str(error)


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's error into one line that names the file and the remedy."""
    try:
        yield
    except DATABASE_ERRORS as error:
        message = str(error)
        remedy = "`harness verdicts repair` keeps what can be read"
        if isinstance(error, sqlite3.Error) and is_busy(error):
            remedy = "another process holds it; run again when that has ended"
        elif "full" in message or "I/O" in message:
            remedy = "free some space and run the same command again; stored verdicts are untouched"
        elif "unable to open" in message or "readonly" in message:
            remedy = "name another directory with --workspace"
        raise StoreError(f"cannot use the verdict store {path} ({message}): {remedy}") from error


def now() -> str:
    """Return the time in UTC as the store writes it."""
    return time.strftime(TIME_FORMAT, time.gmtime())
