"""Judges that are asked through a Batch API: half the price, within a day.

`submit` uploads the pending requests and ends. `resume`, in any process, waits for the replies,
stores them, submits again what came back without a reply, and waits for that.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core.http import error_text, is_retryable
from harness.core.refusals import Refusal, classify_refusal, refuses_everything
from harness.core.seeds import canonical_json
from harness.core.terminal import one_line
from harness.errors import BatchPendingError, ConfigError, JudgeError, JudgeRefusedError
from harness.judges import chat_format, model_check
from harness.judges.batch_api import ENDPOINT, OVER_LIMIT, BatchAPI, TokenLimitError
from harness.judges.cached import CachedJudge, JudgeOptions
from harness.judges.client import POLL_SECONDS, OpenAIClient
from harness.judges.costs import CostTracker, price_of
from harness.judges.panel import JudgePanel, PanelJudge
from harness.judges.session import FIRST_REPLIES
from harness.judges.store import batches
from harness.judges.store.batches import BatchEntry, JudgeBatch
from harness.judges.store.database import Attempt, VerdictStore, key_of, open_store
from harness.judges.store.integrity import submission_lock
from harness.judges.unparsed import unparsed_error
from harness.protocols import RequestQueue, VerdictParser
from harness.types import (
    Advance,
    Body,
    CostEstimate,
    JudgeRequest,
    ParsedVerdict,
    Reply,
    Usage,
    Verdict,
)

LARGEST_LINES, LARGEST_BYTES = 45_000, 150_000_000
"""The largest batch; the API accepts 50,000 lines and 200 MB."""
LINE_BYTES = 200
"""Of a line besides its request."""
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 1.0, 60.0
"""Seconds between two polls of a batch."""
MAX_SUBMISSIONS = 4
"""How often a request is submitted while it comes back without a reply."""
CHARACTERS_PER_TOKEN, LIMIT_SHARE = 4, 0.8
"""How the tokens of a batch are estimated, and the share of the account's limit that is used."""
REPLIES_PER_TRANSACTION = 200
"""Replies stored in one transaction."""


@dataclass(frozen=True)
class BatchJudge:
    """A judge that is asked through its Batch API, with a verdict store.

    Implements `harness.protocols.Judge` and `PersistentJudge`.
    """

    client: OpenAIClient
    store: Path
    """The file of the verdict store."""
    options: JudgeOptions

    @property
    def model(self) -> str:
        """The model that is requested."""
        return self.client.model

    def check_ready(self) -> None:
        """Raise what asking would end with; see `CachedJudge`.

        Raises:
            JudgeError: the judge cannot be asked.
        """
        self._cached.check_ready()

    def judge(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order, once all of them are stored.

        Raises:
            BatchPendingError: some are pending, and the mode is not `resume`.
            JudgeError: the judge refuses or does not reply.
        """
        with open_store(self.store) as store:
            for batch in batches.unfetched_batches(store, self.client.display_name):
                submit_or_close(self.client, store, batch)
        while True:
            if self.options.batch == "resume":
                self._fetch(parser)
            try:
                verdicts = self._cached.judge_through(
                    self._submit_all, requests, parser, lambda _: None
                )
            except BatchPendingError:
                if self.options.batch != "resume":
                    raise
                continue
            advance(len(verdicts))
            return verdicts

    def count_pending(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> int:
        """Return the number of requests without a verdict."""
        return self._cached.count_pending(requests, parser)

    def estimate_cost(
        self, requests: Sequence[JudgeRequest], parser: VerdictParser
    ) -> CostEstimate:
        """Estimate the cost of the requests without a verdict."""
        return self._cached.estimate_cost(requests, parser)

    def usage(self, requests: Sequence[JudgeRequest], parser: VerdictParser) -> Usage:
        """Return what the verdicts on the requests have cost."""
        return self._cached.usage(requests, parser)

    def request_settings(self, request: JudgeRequest) -> dict[str, Any]:
        """Return the parameters of a request besides its text."""
        return self._cached.request_settings(request)

    @property
    def _cached(self) -> CachedJudge:
        return CachedJudge(client=self.client, store=self.store, options=self.options)

    def _submit_all(self, queue: RequestQueue) -> None:
        """Submit every request of a queue.

        Raises:
            BatchPendingError: they are submitted.
            JudgeRefusedError: the judge refuses every request.
            JudgeError: too many requests have come back without a reply too often.
        """
        bodies: dict[str, Body] = {}
        indices: dict[str, int] = {}
        while not queue.is_done():
            if (item := queue.next()) is not None:
                key = key_of(item[1])
                bodies[key], indices[key] = item[1], item[0]
            elif bodies:
                break
            else:  # another process has claimed them, and submits them
                time.sleep(POLL_SECONDS)
        if not bodies:
            return
        name = self.client.display_name
        with open_store(self.store) as store:
            failures = batches.failed_submissions(store, list(bodies), besides=OVER_LIMIT)
            missing = _without_reply(self.client, failures, queue.count_answered())
            for key, reason in missing.items():
                queue.record_refusal(indices[key], reason)
                del bodies[key]
            if not bodies:
                return
            replied = store.replies(list(bodies))
            if len(replied) >= FIRST_REPLIES and not queue.count_answered():
                # none of them could be parsed: a few show whether it has changed
                bodies = {key: bodies[key] for key in list(replied)[:FIRST_REPLIES]}
            submitted = submit_parts(self.client, store, bodies)
        count = sum(submitted)
        rest = f"; {len(bodies) - count} more follow then" if count < len(bodies) else ""
        raise BatchPendingError(
            f"{count} requests have been submitted to {name} in {len(submitted)} batch(es) "
            f"and are answered within a day: run the same command with --resume to fetch them{rest}"
        )

    def _fetch(self, parser: VerdictParser) -> None:
        """Wait for every submitted batch, and store its replies."""
        cached = self._cached
        tracker = CostTracker(self.model, cached.price, self.options.budget, batched=True)
        with open_store(self.store) as store:
            for batch in batches.unfetched_batches(store, self.client.display_name):
                fetch(self.client, store, batch, parser, tracker, cached.accepted_names)


def submit(judge: OpenAIClient, store: VerdictStore, batch: JudgeBatch) -> JudgeBatch:
    """Upload and submit a planned batch; steps that are done are not repeated.

    Between looking for a batch and creating it no other process may look: each would create one.

    Raises:
        JudgeError: the server refuses or does not reply.
    """
    with submission_lock(store.path):
        return _submit(BatchAPI(judge), judge, store, batches.current_state(store, batch))


def submit_or_close(judge: OpenAIClient, store: VerdictStore, batch: JudgeBatch) -> bool:
    """Submit a planned batch; close it if the account takes no more tokens, and return False.

    Raises:
        JudgeError: the server refuses or does not reply.
    """
    try:
        submit(judge, store, batch)
    except TokenLimitError as error:
        _close_over_limit(store, batch, str(error))
        return False
    return True


def submit_parts(judge: OpenAIClient, store: VerdictStore, bodies: Mapping[str, Body]) -> list[int]:
    """Submit requests in as many batches as the account takes now; return the batches' sizes.

    Once it has refused one for the tokens in it, smaller ones follow, one at a time.

    Raises:
        JudgeError: the server refuses or does not reply, or takes not even one request.
    """
    submitted: list[int] = []
    while not submitted:
        largest = largest_batch(judge, store)
        chunks = list(split_batches(bodies, largest))[: 1 if largest else None]
        for chunk in chunks:
            batch = batches.create_batch(store, judge.display_name, chunk)
            if not submit_or_close(judge, store, batch):
                break
            submitted.append(len(chunk))
    return submitted


def largest_batch(judge: OpenAIClient, store: VerdictStore) -> int | None:
    """Return the characters of the largest batch that the account may take; None: any.

    Half of the smallest that it has refused within a day, and no more than the limit that it named.

    Raises:
        JudgeError: it has refused a single request too often.
    """
    refused = batches.over_limit_batches(store, judge.display_name, OVER_LIMIT)
    if sum(count == 1 for count, _, _ in refused) >= MAX_SUBMISSIONS:
        raise JudgeError(
            f"{judge.display_name} takes no batch of a single request ({refused[-1][2]}): other "
            "batches of the account may be in progress; try again later, or leave out --batch"
        )
    return min((min(size // 2, _fitting_size(reason)) for _, size, reason in refused), default=None)


def _fitting_size(reason: str) -> int:
    """Return how many characters fit in the limit that a reason names."""
    limit = re.search(r"\d+", reason)
    return int(LIMIT_SHARE * CHARACTERS_PER_TOKEN * int(limit[0])) if limit else LARGEST_BYTES


def _close_over_limit(store: VerdictStore, batch: JudgeBatch, reason: str) -> None:
    """Close a batch of which nothing was accepted."""
    pending = batches.batch_requests(store, batch, "pending")
    batches.close_batch(store, batch, dict.fromkeys(pending, reason))
    _wait_for_others(pending, reason)


def _wait_for_others(bodies: Mapping[str, Body], reason: str) -> None:
    """Wait a while if requests that were over the limit fit in it: others take it up."""
    size = sum(len(canonical_json(body)) for body in bodies.values())
    if size <= _fitting_size(reason) < LARGEST_BYTES:
        time.sleep(LONGEST_POLL_SECONDS)


def _submit(
    api: BatchAPI, judge: OpenAIClient, store: VerdictStore, batch: JudgeBatch
) -> JudgeBatch:
    if batch.file_id is None:
        rows = batches.batch_requests(store, batch)
        lines = "".join(_request_line(judge, key, body) for key, body in rows.items())
        batch = batches.record_ids(store, batch, file_id=api.upload(f"{batch.name}.jsonl", lines))
    if batch.batch_id is None:
        assert batch.file_id is not None
        batch_id = api.create(batch.name, batch.file_id)
        batch = batches.record_ids(store, batch, file_id=batch.file_id, batch_id=batch_id)
    return batch


def fetch(
    judge: OpenAIClient,
    store: VerdictStore,
    batch: JudgeBatch,
    parser: VerdictParser,
    tracker: CostTracker,
    accepted_names: frozenset[str],
) -> None:
    """Wait for a batch, store its replies, and close it.

    Raises:
        JudgeIdentityError: another model replied; its replies are quarantined.
        CheckError: none of the replies can be parsed: they are not asked for again.
        JudgeRefusedError: the batch or one of its requests was refused for good.
        JudgeError: the judge does not reply.
    """
    api, results = BatchAPI(judge), _BatchResults(store, batch, parser, tracker, accepted_names)
    assert batch.batch_id is not None
    pause = FIRST_POLL_SECONDS
    while not (progress := api.progress(batch.batch_id)).has_ended:
        time.sleep(pause)
        pause = min(LONGEST_POLL_SECONDS, pause * 2)
    for row in (row for file in progress.files for row in api.lines(file)):
        results.add_row(row)
    if progress.over_limit:
        results.refuse_unanswered(progress.over_limit)
    results.close()
    if progress.over_limit:
        _wait_for_others(results.unanswered, progress.over_limit)
    if results.other_models:
        raise model_check.wrong_model_error(
            judge.display_name, judge.model, results.other_models[0], len(results.other_models)
        )
    if not results.has_parsed and len(results.unparsed) >= FIRST_REPLIES:
        raise unparsed_error(judge.display_name, results.unparsed)
    if progress.state == "failed" and not progress.over_limit:
        reason = progress.errors or "it does not say why"
        raise JudgeRefusedError(f"{judge.display_name} refuses a batch: {reason}")


@dataclass
class _BatchResults:
    """The results of a batch's lines."""

    store: VerdictStore
    batch: JudgeBatch
    parser: VerdictParser
    tracker: CostTracker
    accepted_names: frozenset[str]
    """The model names that the server may reply with."""
    answered: int = 0
    refused: dict[str, Refusal] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    other_models: list[str] = field(default_factory=list)
    buffer: list[BatchEntry] = field(default_factory=list)
    unparsed: list[tuple[Body, Reply, ParsedVerdict | None]] = field(default_factory=list)
    """The first replies, as long as none could be parsed."""
    has_parsed: bool = False
    unanswered: dict[str, Body] = field(init=False)
    """The requests without a reply, by key."""

    def __post_init__(self) -> None:
        self.unanswered = batches.batch_requests(self.store, self.batch, "pending")

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a line; a duplicate is ignored."""
        key = row.get("custom_id")
        if not isinstance(key, str) or key not in self.unanswered:
            return
        try:
            text = _response_body(row)
            reply = chat_format.reply_of(text)
        except Refusal as refusal:
            self.refused[key] = refusal
        except ValueError as error:
            self.failures[key] = str(error)
        else:
            self._add_reply(key, text, reply)

    def refuse_unanswered(self, reason: str) -> None:
        """Give a reason for all requests without a reply."""
        self.failures |= dict.fromkeys(self.unanswered, reason)

    def close(self) -> None:
        """Store the remaining replies, and close the batch.

        Requests that were refused alone are settled; if all were refused they have failed for good,
        and are not submitted again.
        """
        unexplained = {
            key: refusal for key, refusal in self.refused.items() if not refusal.explained
        }
        if refuses_all(self.answered, len(self.refused) - len(unexplained), len(unexplained)):
            self.failures |= {key: f"refused ({refusal})" for key, refusal in self.refused.items()}
        else:
            self.buffer += [
                self._refused_entry(key, refusal) for key, refusal in self.refused.items()
            ]
        self._flush()
        batches.close_batch(self.store, self.batch, self.failures)

    def _add_reply(self, key: str, text: str, reply: Reply) -> None:
        body, name = self.unanswered.pop(key), model_check.served_name(reply.model)
        parsed, is_other_model = self.parser.parse([reply]), name not in self.accepted_names
        is_parsable = parsed is not None
        self.has_parsed |= parsed is not None and parsed.spelled
        if not self.has_parsed and len(self.unparsed) < FIRST_REPLIES:
            self.unparsed.append((body, reply, parsed))
        attempt = Attempt(body, text, name, is_parsable, quarantined=is_other_model)
        call = self.tracker.record_reply(body, reply, attempt.status, None)
        self.answered += 1
        self.other_models += [name] if is_other_model else []
        self.buffer.append(BatchEntry(key, attempt, call))
        if len(self.buffer) == REPLIES_PER_TRANSACTION:
            self._flush()

    def _refused_entry(self, key: str, refusal: Refusal) -> BatchEntry:
        attempt = Attempt(self.unanswered[key], str(refusal), "", parsable=False, refused=True)
        return BatchEntry(key, attempt, self.tracker.record_refusal(self.unanswered[key]))

    def _flush(self) -> None:
        batches.store_entries(self.store, self.batch, self.buffer)
        self.buffer.clear()


def refuses_all(answered: int, explained: int, unexplained: int) -> bool:
    """Say whether the outcome of a batch means that everything is refused."""
    return refuses_everything(answered, explained, unexplained) or bool(
        unexplained and not answered
    )


def split_batches(
    bodies: Mapping[str, Body], largest: int | None = None
) -> Iterator[dict[str, Body]]:
    """Divide requests into batches that the API accepts.

    Args:
        bodies: the requests by key.
        largest: the characters of all requests of a batch, beside the API's own limits.
    """
    chunk: dict[str, Body] = {}
    characters = 0
    for key, body in bodies.items():
        length = len(canonical_json(body))
        size = characters + length + LINE_BYTES * (len(chunk) + 1)
        is_full = len(chunk) >= LARGEST_LINES or size > LARGEST_BYTES
        if chunk and (is_full or (largest is not None and characters + length > largest)):
            yield chunk
            chunk, characters = {}, 0
        chunk[key] = body
        characters += length
    if chunk:
        yield chunk


def _request_line(judge: OpenAIClient, key: str, body: Body) -> str:
    sent = {**body, "model": judge.deployment or judge.model}
    row = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": sent}
    return json.dumps(row) + "\n"


def _response_body(row: Mapping[str, Any]) -> str:
    """Return the response body in a line.

    Raises:
        Refusal: the server refused the request.
        ValueError: there is no body; the text begins with `refused` if a retry is useless.
    """
    response = row.get("response")
    envelope = response if isinstance(response, Mapping) else {}
    status, body = envelope.get("status_code"), envelope.get("body")
    if status == 200:
        return json.dumps(body)
    reason = one_line(json.dumps(body or row.get("error") or "no answer"))
    if not isinstance(status, int):
        raise ValueError(f"failed: {reason}")
    error = body.get("error") if isinstance(body, Mapping) else None
    details = error if isinstance(error, Mapping) else {}
    codes = (details.get("code"), details.get("type"))
    if refused := classify_refusal(
        status, codes, one_line(error_text(details.get("message"), *codes) or reason)
    ):
        raise refused
    raise ValueError(f"{'failed' if is_retryable(status) else 'refused'} ({status}: {reason})")


def _without_reply(
    judge: OpenAIClient, failures: Mapping[str, tuple[int, str]], answered: int
) -> dict[str, str]:
    """Return the requests that came back without a reply too often, with the reason.

    Args:
        judge: the judge.
        failures: by key, how often a request came back without a reply, and why.
        answered: the number of requests with a reply.

    Raises:
        JudgeRefusedError: a request was refused for good.
        JudgeError: there are so many that the judge is at fault.
    """
    for _, reason in failures.values():
        if reason.startswith("refused"):
            raise JudgeRefusedError(
                f"{judge.display_name} refuses a request of the batch, {reason}: name another "
                "judge; the verdicts so far are stored"
            )
    spent = {
        key: f"no reply in {count} batches ({reason})"
        for key, (count, reason) in failures.items()
        if count >= MAX_SUBMISSIONS
    }
    if spent and (not answered or refuses_everything(answered, 0, len(spent))):
        raise JudgeError(
            f"{judge.display_name} has returned {len(spent)} requests without a reply "
            f"({next(iter(spent.values()))}): leave out --batch, or name another judge; the "
            "verdicts so far are stored"
        )
    return spent


def cached_judge(
    component: Any, path: Path, options: JudgeOptions
) -> CachedJudge | BatchJudge | PanelJudge:
    """Return the judge of a client, or of a panel of clients, with the verdict store at `path`.

    Raises:
        ConfigError: this client has no Batch API.
    """
    if isinstance(component, JudgePanel):
        members = [
            _cached_client(member, path, _without_known_price(member, options))
            for member in component.members
        ]
        return PanelJudge(members, component.rule)
    return _cached_client(component, path, options)


def _without_known_price(member: Any, options: JudgeOptions) -> JudgeOptions:
    """Let `--price` hold for the members of a panel that no file lists."""
    return replace(options, price=None) if price_of(member.model) else options


def _cached_client(client: Any, path: Path, options: JudgeOptions) -> CachedJudge | BatchJudge:
    if options.batch is None:
        return CachedJudge(client=client, store=path, options=options)
    if not isinstance(client, OpenAIClient):
        raise ConfigError(f"{type(client).__name__} takes no batches: leave out --batch, --resume")
    return BatchJudge(client, path, options)
