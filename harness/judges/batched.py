"""A judge that is asked in batches: half the price, within a day, from as many processes as needed.

`submit` uploads what is not stored, and ends. `resume`, now or from another process, waits,
fetches, sends again what is missing and nothing else, and waits for that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import BatchPendingError, JudgeError, JudgeRefusedError
from harness.judges import batches, identity, wire
from harness.judges.batch_api import ENDPOINT, BatchAPI
from harness.judges.batches import Batch, Line
from harness.judges.calls import PASSING, plain, told_by
from harness.judges.client import OpenAIJudge
from harness.judges.desk import Desk
from harness.judges.ledger import Ledger
from harness.judges.refusals import Refusal, of_all, refusal
from harness.judges.store import Attempt, VerdictStore, key_of, opened
from harness.judges.stored import StoredJudge, Terms
from harness.judges.wire import Body
from harness.protocols import Reader
from harness.types import Advance, Bill, Forecast, JudgeRequest, Reply, Verdict

LARGEST_LINES, LARGEST_BYTES = 45_000, 150_000_000
"""Of a batch; the API takes 50,000 lines and 200 MB."""
FIRST_LOOK, LONGEST_LOOK = 1.0, 60.0
"""Seconds between two looks at a batch that is under way."""
TRIES = 4
"""How often a request is sent that comes back without a reply."""
AT_ONCE = 200
"""Replies that are kept in one transaction."""


@dataclass(frozen=True)
class Submitter:
    """Implements `Client` by handing all that is to be asked to a batch."""

    judge: OpenAIJudge
    path: Path

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return self.judge.model

    @property
    def unread_attempts(self) -> int:
        """How many replies a request may have while none can be read."""
        return self.judge.unread_attempts

    @property
    def served_as(self) -> tuple[str, ...]:
        """Other names under which the model may be served."""
        return self.judge.served_as

    @property
    def ask_refused(self) -> bool:
        """Whether to ask once more what was refused before."""
        return self.judge.ask_refused

    @property
    def url(self) -> str:
        """Where the judge is asked."""
        return self.judge.url

    @property
    def who(self) -> str:
        """The judge and its address."""
        return self.judge.who

    @property
    def concurrency(self) -> int:
        """Requests that are under way at a time, for a forecast."""
        return self.judge.concurrency

    def body(self, request: JudgeRequest) -> Body:
        """Return the whole request."""
        return self.judge.body(request)

    def ask(self, desk: Desk) -> None:
        """Submit all that the desk gives out.

        Raises:
            BatchPendingError: it is submitted.
            JudgeRefusedError: a request has come back without a reply too often.
        """
        bodies = {}
        while (given := desk.next()) is not None:
            bodies[key_of(given[1])] = given[1]
        if not bodies:
            return
        with opened(self.path) as store:
            _check_worth(self.judge, batches.in_vain(store, list(bodies)))
            made = [batches.intend(store, self.who, part) for part in parts(bodies)]
            for batch in made:
                push(self.judge, store, batch)
        raise BatchPendingError(
            f"{len(bodies)} requests are submitted to {self.who} in {len(made)} batch(es), to be "
            "answered within a day: run the same command with --resume to fetch them"
        )


@dataclass
class BatchedJudge:
    """Implements `harness.protocols.Judge` by batches and the file of a verdict store."""

    client: OpenAIJudge
    path: Path
    terms: Terms
    stored: StoredJudge = field(init=False)
    model: str = field(init=False)

    def __post_init__(self) -> None:
        self.model = self.client.model
        self.stored = StoredJudge(Submitter(self.client, self.path), self.path, self.terms)

    def judge(
        self, requests: Sequence[JudgeRequest], reader: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order, once they are all there.

        Raises:
            BatchPendingError: they are not, and `--resume` was not said.
            JudgeError: the judge refuses, or gives no answer.
        """
        with opened(self.path) as store:
            for batch in batches.unfetched(store, self.client.who):
                push(self.client, store, batch)
        while True:
            if self.terms.batch == "resume":
                self._fetch(reader)
            try:
                found = self.stored.judge(requests, reader, lambda _: None)
            except BatchPendingError:
                if self.terms.batch != "resume":
                    raise
                continue
            advance(len(found))
            return found

    def pending(self, requests: Sequence[JudgeRequest], reader: Reader) -> int:
        """Return how many requests have no verdict yet."""
        return self.stored.pending(requests, reader)

    def forecast(self, requests: Sequence[JudgeRequest], reader: Reader) -> Forecast:
        """Say what the requests will take that have no verdict yet."""
        return self.stored.forecast(requests, reader)

    def bill(self, requests: Sequence[JudgeRequest], reader: Reader) -> Bill:
        """Return what the verdicts have cost."""
        return self.stored.bill(requests, reader)

    def asked_with(self, request: JudgeRequest) -> dict[str, Any]:
        """Return what a request is asked with besides its text."""
        return self.stored.asked_with(request)

    def _fetch(self, reader: Reader) -> None:
        """Wait for every batch that was submitted, and keep what it brings."""
        price, purse = self.stored.price, self.terms.purse
        ledger = Ledger(self.model, price, purse, batched=True)
        with opened(self.path) as store:
            for batch in batches.unfetched(store, self.client.who):
                fetch(self.client, store, batch, reader, ledger, self.stored.names)


def push(judge: OpenAIJudge, store: VerdictStore, batch: Batch) -> Batch:
    """Bring a batch that was meant to the judge; what was done of it is not done again.

    Raises:
        JudgeError: it cannot be done now.
    """
    api = BatchAPI(judge)
    if batch.file is None:
        rows = batches.requests(store, batch)
        lines = "".join(_line(judge, key, body) for key, body in rows.items())
        batch = batches.named(store, batch, file=api.upload(f"{batch.name}.jsonl", lines))
    if batch.batch is None:
        assert batch.file is not None
        at = api.create(batch.name, batch.file)
        batch = batches.named(store, batch, file=batch.file, at=at)
    return batch


def fetch(
    judge: OpenAIJudge,
    store: VerdictStore,
    batch: Batch,
    reader: Reader,
    ledger: Ledger,
    names: frozenset[str],
) -> None:
    """Wait for a batch, keep its replies, and close it.

    Raises:
        JudgeIdentityError: another model answered; its replies are in quarantine.
        JudgeRefusedError: the batch or a request of it was refused for good.
        JudgeError: the judge gives no answer.
    """
    api, sheet = BatchAPI(judge), _Sheet(store, batch, reader, ledger, names)
    assert batch.batch is not None
    pause = FIRST_LOOK
    while not (found := api.progress(batch.batch)).ended:
        time.sleep(pause)
        pause = min(LONGEST_LOOK, pause * 2)
    for row in (row for file in found.files for row in api.lines(file)):
        sheet.take(row)
    sheet.close()
    if sheet.strangers:
        raise identity.stranger(judge.who, judge.model, sheet.strangers[0], len(sheet.strangers))
    if found.state == "failed":
        told = found.faults or "it does not say why"
        raise JudgeRefusedError(f"{judge.who} refuses a batch: {told}")


@dataclass
class _Sheet:
    """What has come of a batch's lines."""

    store: VerdictStore
    batch: Batch
    reader: Reader
    ledger: Ledger
    names: frozenset[str]
    """The names under which the judge may be served."""
    answered: int = 0
    refused: dict[str, Refusal] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)
    waiting: list[Line] = field(default_factory=list)
    open: dict[str, Body] = field(init=False)
    """What has not come back, by key."""

    def __post_init__(self) -> None:
        self.open = batches.requests(self.store, self.batch, "asked")

    def take(self, row: Mapping[str, Any]) -> None:
        """Read a line; a doubled one counts once."""
        key = row.get("custom_id")
        if not isinstance(key, str) or key not in self.open:
            return
        try:
            text = _body_of(row)
            reply = wire.reply_of(text)
        except Refusal as refusal:
            self.refused[key] = refusal
        except ValueError as error:
            self.failures[key] = str(error)
        else:
            self._answer(key, text, reply)

    def close(self) -> None:
        """Keep what is left, and close the batch.

        Requests that were refused by themselves are settled; where all were refused they have
        failed, so that nobody sends them again.
        """
        for_good = {key: one for key, one in self.refused.items() if not one.explained}
        if refuses_all(self.answered, len(self.refused) - len(for_good), len(for_good)):
            self.failures |= {key: f"refused ({told})" for key, told in self.refused.items()}
        else:
            self.waiting += [self._refusal(key, told) for key, told in self.refused.items()]
        self._keep()
        batches.end(self.store, self.batch, self.failures)

    def _answer(self, key: str, text: str, reply: Reply) -> None:
        body, name = self.open.pop(key), identity.served(reply.model)
        readable, strange = self.reader.read([reply]) is not None, name not in self.names
        attempt = Attempt(body, text, name, readable, quarantined=strange)
        call = self.ledger.answered(body, reply, attempt.status, None)
        self.answered += 1
        self.strangers += [name] if strange else []
        self.waiting.append(Line(key, attempt, call))
        if len(self.waiting) == AT_ONCE:
            self._keep()

    def _refusal(self, key: str, refusal: Refusal) -> Line:
        attempt = Attempt(self.open[key], str(refusal), "", readable=False, refused=True)
        return Line(key, attempt, self.ledger.refused(self.open[key]))

    def _keep(self) -> None:
        batches.keep(self.store, self.batch, self.waiting)
        self.waiting.clear()


def refuses_all(answered: int, explained: int, unexplained: int) -> bool:
    """Say whether a batch with so many answers and refusals shows that all would be refused."""
    return of_all(answered, explained, unexplained) or bool(unexplained and not answered)


def parts(bodies: Mapping[str, Body]) -> Iterator[dict[str, Body]]:
    """Divide requests into batches of a size that is taken."""
    part: dict[str, Body] = {}
    size = 0
    for key, body in bodies.items():
        length = len(json.dumps(body)) + 200
        if part and (len(part) >= LARGEST_LINES or size + length > LARGEST_BYTES):
            yield part
            part, size = {}, 0
        part[key] = body
        size += length
    if part:
        yield part


def _line(judge: OpenAIJudge, key: str, body: Body) -> str:
    sent = {**body, "model": judge.called or judge.model}
    row = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": sent}
    return json.dumps(row) + "\n"


def _body_of(row: Mapping[str, Any]) -> str:
    """Return the response's body that a line holds.

    Raises:
        Refusal: the server would not take the request.
        ValueError: it holds no body, and why; `refused` where asking again is in vain.
    """
    answer = row.get("response")
    given = answer if isinstance(answer, Mapping) else {}
    status, body = given.get("status_code"), given.get("body")
    if status == 200:
        return json.dumps(body)
    why = plain(json.dumps(body or row.get("error") or "no answer"))
    if not isinstance(status, int):
        raise ValueError(f"failed: {why}")
    error = body.get("error") if isinstance(body, Mapping) else None
    told = error if isinstance(error, Mapping) else {}
    codes = (told.get("code"), told.get("type"))
    if found := refusal(status, codes, plain(told_by(told.get("message"), *codes) or why)):
        raise found
    lasting = status < 500 and status not in PASSING
    raise ValueError(f"{'refused' if lasting else 'failed'} ({status}: {why})")


def _check_worth(judge: OpenAIJudge, vain: Mapping[str, tuple[int, str]]) -> None:
    """Refuse to send what was refused for good, or has come back too often."""
    for count, told in vain.values():
        if told.startswith("refused"):
            raise JudgeRefusedError(
                f"{judge.who} does not take a request of the batch, {told}: name another judge; "
                "the verdicts so far are kept"
            )
        if count >= TRIES:
            raise JudgeError(
                f"{judge.who} has sent a request back {count} times without a reply ({told}): "
                "leave out --batch, or name another judge; the verdicts so far are kept"
            )
