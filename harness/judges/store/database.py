"""The verdict store: every reply that a judge ever gave, in one SQLite file.

A row is an attempt, keyed by the sha256 of the whole request; nothing is ever overwritten, and a
row that was added is on the disk. A reply is stored as it came, so a better reader can read it
again. Its checksum covers the whole row: one that was changed, or got under another key, is not
served. Several processes may use one store: who asks for a verdict claims it first.
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
from harness.judges.store.integrity import unsealed
from harness.judges.store.leases import Owner
from harness.judges.store.schema import checksum, prepare
from harness.types import Body

BUSY_SECONDS = 120.0
WAIT_SECONDS = 5.0
CHUNK = 500
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second where its own message repeats bytes of a damaged layout."""
ATTEMPT_COLUMNS = "key, attempt, time, request, reply, model, status"
INSERT_ATTEMPT = "INSERT INTO attempt (key, attempt, time, request, reply, model, status, sha256)"
INSERT_CALL = "INSERT INTO call VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


def key_of(body: Body) -> str:
    """Return what a request's verdicts are kept under: the sha256 of its canonical JSON."""
    return digest(body)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A reply, and what it replies to."""

    body: Body
    reply: str
    """The response's body; of a refusal, what the server says in one line."""
    model: str
    """What the server says it served; of a refusal, nothing."""
    parsable: bool
    quarantined: bool = False
    """Whether another model than the one that was asked for gave it."""
    refused: bool = False
    """Whether the server would not take the request."""

    @property
    def status(self) -> str:
        """Say what became of it."""
        if self.refused:
            return "refused"
        return "quarantined" if self.quarantined else "read" if self.parsable else "unread"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is, or may be, on the bill."""

    key: str
    outcome: str
    """An attempt's status, or what went wrong."""
    model: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    """Whether the tokens are a guess, because the server did not tell."""
    dollars: float | None
    """None: no price is known."""
    seconds: float | None

    def row(self) -> tuple[Any, ...]:
        """Return a row of the table `call`."""
        tokens = (self.prompt_tokens, self.completion_tokens, int(self.estimated))
        return (self.key, now(), self.outcome, self.model, *tokens, self.dollars, self.seconds)


@dataclass
class ClaimOutcome:
    """What became of the wish to ask some requests."""

    granted: set[str] = field(default_factory=set)
    """We may ask; nobody else will until we have."""
    answered: set[str] = field(default_factory=set)
    """There is a reply by now."""
    held_elsewhere: set[str] = field(default_factory=set)
    """Another process is asking."""
    batched: set[str] = field(default_factory=set)
    """It is in a batch that has not been fetched."""


@dataclass(frozen=True)
class VerdictStore:
    """An open store; see `opened`."""

    path: Path
    connection: sqlite3.Connection

    def add(self, attempts: Iterable[Attempt], calls: Iterable[Call] = ()) -> None:
        """Keep replies, each as the next attempt of its request; on return they are on the disk.

        What they answer is claimed no more.

        Raises:
            StoreError: the database cannot be written; none of them is kept.
        """
        entries = [(key_of(attempt.body), attempt) for attempt in attempts]
        rows = [call.row() for call in calls]
        with self.transaction():
            for key, attempt in entries:
                self.insert(key, attempt)
            self.connection.executemany(INSERT_CALL, rows)

    def insert(self, key: str, attempt: Attempt) -> None:
        """Keep one reply, within a transaction that is open."""
        execute = self.connection.execute
        number = execute("SELECT count(*) FROM attempt WHERE key = ?", (key,)).fetchone()[0] + 1
        row = (key, number, now(), canonical_json(attempt.body), attempt.reply)
        columns = (*row, attempt.model, attempt.status)
        execute(f"{INSERT_ATTEMPT} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*columns, checksum(columns)))
        execute("DELETE FROM claim WHERE key = ?", (key,))

    def replies(
        self, keys: Iterable[str], models: Collection[str] | None = None
    ) -> dict[str, list[str]]:
        """Return the replies under every key that has any, in the order of the attempts.

        `models` are those that may have given them; None: any, none in quarantine.

        Raises:
            StoreError: the database cannot be read, or a reply is not what was stored.
        """
        replies: dict[str, list[str]] = {}
        for key, reply, model, status in self._verified(keys):
            if _counts_as_reply(model, status, models):
                replies.setdefault(key, []).append(reply)
        return replies

    def refusals(self, keys: Iterable[str]) -> dict[str, str]:
        """Return by key why a server would not take the request, where one did so at last.

        Raises:
            StoreError: the database cannot be read, or a refusal is not what was stored.
        """
        last = {key: (reply, status) for key, reply, _, status in self._verified(keys)}
        return {key: reply for key, (reply, status) in last.items() if status == "refused"}

    def claim(
        self, wanted: Mapping[str, int], owner: Owner, models: Collection[str] | None = None
    ) -> ClaimOutcome:
        """Claim requests by key, each with the number of replies that are known of it.

        Raises:
            StoreError: the database cannot be used.
        """
        outcome = ClaimOutcome()
        with self.transaction():
            self._renew_lease(owner)
            reply_counts = self._count_replies(list(wanted), models)
            holders = self._claim_holders(list(wanted))
            for key, known_count in wanted.items():
                if reply_counts[key] > known_count:
                    outcome.answered.add(key)
                elif key in holders and holders[key] != owner.id:
                    (
                        outcome.batched
                        if holders[key].startswith("batch")
                        else outcome.held_elsewhere
                    ).add(key)
                else:
                    outcome.granted.add(key)
            self.connection.executemany(
                "INSERT OR IGNORE INTO claim VALUES (?, ?)",
                [(key, owner.id) for key in outcome.granted],
            )
        return outcome

    def release(self, owner: Owner) -> None:
        """Give up every claim of an owner."""
        with self.transaction():
            self._drop_owners([owner.id])

    def calls(self, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        """Yield outcome, tokens (prompt, completion), whether guessed, dollars, seconds of calls.

        Raises:
            StoreError: the database cannot be read.
        """
        columns = "outcome, prompt_tokens, completion_tokens, estimated, dollars, seconds"
        yield from self.rows(f"SELECT {columns} FROM call", list(keys), order="rowid")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction; wait for other processes as long as it takes, within reason.

        Raises:
            StoreError: the database cannot be written; nothing is changed.
        """
        with store_errors(self.path):
            retry_while_busy(lambda: self.connection.execute("BEGIN IMMEDIATE"))
            try:
                yield
                retry_while_busy(lambda: self.connection.execute("COMMIT"))
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def rows(
        self, query: str, keys: Sequence[str], order: str = "key, attempt"
    ) -> Iterator[tuple[Any, ...]]:
        """Yield what a query of a table finds under some keys.

        Raises:
            StoreError: the database cannot be read.
        """
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            placeholders = ",".join("?" * len(chunk))
            with store_errors(self.path):
                statement = f"{query} WHERE key IN ({placeholders}) ORDER BY {order}"
                rows = retry_while_busy(
                    lambda t=statement, s=chunk: self.connection.execute(t, s).fetchall()
                )
            yield from rows

    def _verified(self, keys: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
        """Yield key, reply, model and status of attempts, each by its checksum what was stored."""
        for *columns, sha256 in self.rows(
            f"SELECT {ATTEMPT_COLUMNS}, sha256 FROM attempt", list(keys)
        ):
            key, attempt, *_, reply, model, status = columns
            if checksum(columns) != sha256:
                raise StoreError(
                    f"attempt {attempt} of verdict {key} in {self.path} is damaged (its sha256 "
                    "does not match): `harness verdicts repair` keeps all the others"
                )
            yield key, reply, model, status

    def _count_replies(self, keys: list[str], models: Collection[str] | None) -> dict[str, int]:
        counts: dict[str, int] = defaultdict(int)
        for key, model, status in self.rows("SELECT key, model, status FROM attempt", keys):
            counts[key] += _counts_as_reply(model, status, models)
        return counts

    def _claim_holders(self, keys: list[str]) -> dict[str, str]:
        """Return who claims which of the keys; claims of the dead are dropped."""
        holders: dict[str, str] = dict(self.rows("SELECT key, owner FROM claim", keys, order="key"))
        if not holders:
            return holders
        rows = self.connection.execute("SELECT id, place, pid, started, beat FROM owner").fetchall()
        living = {name for name, *lease in rows if leases.is_alive(*lease)}
        self._drop_owners({name for name, *_ in rows} - living)
        self._drop_owners({name for name in holders.values() if name not in living})
        return {key: name for key, name in holders.items() if name in living}

    def _drop_owners(self, names: Collection[str]) -> None:
        for name in names:
            self.connection.execute("DELETE FROM claim WHERE owner = ?", (name,))
            self.connection.execute("DELETE FROM owner WHERE id = ?", (name,))

    def _renew_lease(self, owner: Owner) -> None:
        self.connection.execute(
            "INSERT INTO owner VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) "
            "DO UPDATE SET beat = excluded.beat",
            owner.row(),
        )


def _counts_as_reply(model: str, status: str, models: Collection[str] | None) -> bool:
    """Say whether an attempt is a reply of one of the models; None: of any, not in quarantine."""
    if status == "refused":
        return False
    return status != "quarantined" if models is None else model in models


@contextmanager
def open_store(path: Path) -> Iterator[VerdictStore]:
    """Open a store, made where there is none, and close it in the end.

    Raises:
        StoreError: the file is no store of this version, or cannot be used.
    """
    with report_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with unsealed(path), store_errors(path):
        connection = sqlite3.connect(
            path, timeout=min(WAIT_SECONDS, BUSY_SECONDS), isolation_level=None
        )
        try:
            retry_while_busy(lambda: prepare(path, connection))
            yield VerdictStore(path, connection)
        finally:
            connection.close()


def retry_while_busy(operation: Any) -> Any:
    """Do something with a database that others use too; wait for them in a fair way.

    Raises:
        sqlite3.Error: they hold it for longer than anybody should, or it cannot be used.
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
    """Turn what SQLite says into one line that names the file and what mends it."""
    try:
        yield
    except DATABASE_ERRORS as error:
        message = str(error)
        remedy = "`harness verdicts repair` keeps what can be read"
        if isinstance(error, sqlite3.Error) and is_busy(error):
            remedy = "another process holds it; wait for that to end and run again"
        elif "full" in message or "I/O" in message:
            remedy = "free some space and run the same command again; what stood is untouched"
        elif "unable to open" in message or "readonly" in message:
            remedy = "name another place with --workspace"
        raise StoreError(f"cannot use the verdict store {path} ({message}): {remedy}") from error


def now() -> str:
    """Return the time, as it is written everywhere in the store."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
