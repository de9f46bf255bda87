"""What a client is handed its requests by, and hands the replies to.

The requests of one run: which are stored, which are asked, what has been found about each.

Requests are rendered when their turn comes, and replies are let go when they are read: what grows
with a run is a key, a number and a verdict a request.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import BatchPendingError, BudgetError, HarnessError
from harness.judges import chat_format, model_check
from harness.judges.costs import CostTracker
from harness.judges.store.database import Attempt, Call, VerdictStore, key_of
from harness.judges.store.leases import Owner, new_owner
from harness.judges.unparsed import unparsed_error
from harness.protocols import JudgeClient, VerdictParser
from harness.types import (
    Advance,
    Body,
    CostDisplay,
    JudgeRequest,
    ParsedVerdict,
    RawReply,
    Reply,
    Verdict,
)


class ListQueue:
    """A queue over a list of requests; replies are held in memory, by index."""

    def __init__(self, bodies: Sequence[Body]) -> None:
        self._bodies = iter(enumerate(bodies))
        self._count = len(bodies)
        self.replies: dict[int, RawReply] = {}
        self.failures: list[str] = []
        self.refusals: dict[int, str] = {}

    def next(self) -> tuple[int, Body] | None:
        """Return the next request, in order."""
        return next(self._bodies, None)

    def is_done(self) -> bool:
        """Say whether every request has a reply or was refused."""
        return len(self.replies) + len(self.refusals) == self._count

    def keep(self, replies: Sequence[RawReply]) -> None:
        """Hold replies."""
        self.replies |= {reply.index: reply for reply in replies}

    def count_answered(self) -> int:
        """Return the number of replies."""
        return len(self.replies)

    def record_failure(self, index: int, reason: str) -> None:
        """Record why an attempt failed."""
        self.failures.append(reason)

    def record_refusal(self, index: int, reason: str) -> None:
        """Record why a request was refused."""
        self.refusals[index] = reason


CLAIM_SIZE = 32
"""The number of requests that are looked up and claimed together."""
FIRST_REPLIES = 20
"""The number of replies after which a run stops if none of them can be parsed."""
POLL_SECONDS = 0.2
"""Seconds between two looks at requests that another process is asking."""


@dataclass
class RequestChain:
    """A request, the replies to it and its follow-ups, and the request to ask next."""

    request: JudgeRequest
    client: JudgeClient
    next_request: JudgeRequest | None
    replies: list[Reply] = field(default_factory=list)
    parsed: ParsedVerdict | None = None
    last_reply: Reply | None = None
    """The last reply, which may have been empty."""
    refusal: str = ""
    """Why the server refused the next request."""
    reply_count: int = 0
    """All replies, empty ones included."""
    replies_used: Counter[str] = field(default_factory=Counter)
    """By key, the number of stored attempts that are among the replies."""
    rendering: tuple[JudgeRequest, Body, str] | None = field(default=None, repr=False)
    """The request that was rendered last, with its body and key."""

    @property
    def body(self) -> Body:
        """The request to ask next."""
        return self._render()[1]

    @property
    def key(self) -> str:
        """The key of the request to ask next."""
        return self._render()[2]

    def _render(self) -> tuple[JudgeRequest, Body, str]:
        """Return the request to ask next, rendered once: texts are long, and so are their keys."""
        assert self.next_request is not None
        if self.rendering is None or self.rendering[0] is not self.next_request:
            body = self.client.body(self.next_request)
            self.rendering = (self.next_request, body, key_of(body))
        return self.rendering

    def add_reply(self, reply: Reply, parser: VerdictParser) -> None:
        """Add a reply to the request asked last; after an empty one it is asked again."""
        self.replies_used[self.key] += 1
        self.last_reply, self.reply_count = reply, self.reply_count + 1
        current, self.next_request = self.next_request, None
        if has_content := not is_empty(reply):
            self.replies.append(reply)
            self.parsed = parser.parse(self.replies)
        if self.parsed is None and self.reply_count < self.client.unparsed_attempts:
            self.next_request = (
                parser.follow_up(self.request, self.replies) if has_content else current
            )

    def refuse(self, reason: str) -> None:
        """End without a verdict because the server refused the next request."""
        self.replies_used[self.key] += 0  # no reply, but one of the keys that were asked
        self.refusal, self.next_request = reason, None

    def verdict(self, request_id: str) -> Verdict:
        """Return the parsed verdict with the judge's text; the text has every reply."""
        model = model_check.served_name(self.last_reply.model) if self.last_reply else ""
        text = "\n".join(reply.content for reply in self.replies)
        return Verdict(request_id, self.parsed, model, text, self.refusal)


def is_empty(reply: Reply) -> bool:
    """Say whether a reply has neither text nor log-probabilities."""
    return not reply.content.strip() and not reply.top_logprobs


@dataclass
class JudgingSession:
    """Implements `RequestQueue` over a verdict store; equal requests share a chain."""

    requests: Sequence[JudgeRequest]
    parser: VerdictParser
    client: JudgeClient
    store: VerdictStore
    tracker: CostTracker
    models: frozenset[str]
    """The model names that the server may reply with."""
    advance: Advance
    owner: Owner = field(default_factory=new_owner)
    retry_missing: bool = False
    """Whether requests that ended without a verdict in an earlier run are asked again."""
    stop_error: HarnessError | None = None
    """The reason for stopping."""
    index_by_key: dict[str, int] = field(default_factory=dict)
    """By key, the index of the first request with it."""
    verdicts: list[Verdict | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._claimed_elsewhere: deque[int] = deque()
        self._last_poll = 0.0
        self._batched: set[int] = set()
        self._ready: deque[tuple[int, RequestChain]] = deque()
        self._in_flight: dict[int, RequestChain] = {}
        self._duplicates: dict[int, list[int]] = defaultdict(list)
        self._quarantined = self._answered = 0
        self._has_parsed = False
        self._unparsed: list[tuple[Body, Reply, ParsedVerdict | None]] = []
        self.verdicts = [None] * len(self.requests)
        for index in range(len(self.requests)):
            key = key_of(self.client.body(self.requests[index]))
            first = self.index_by_key.setdefault(key, index)
            (self._waiting if first == index else self._duplicates[first]).append(index)

    def next(self) -> tuple[int, Body] | None:
        """Return the index of a claimed request, and the request; None: none at the moment."""
        self._fill()
        if self.stop_error is not None or not self._ready:
            return None
        index, chain = self._ready[0]
        if not self.tracker.reserve(index, chain.body):
            if not self._in_flight:  # else what is in flight may cost less than is reserved
                self.stop_error = self._budget_error(chain.body)
            return None
        self._ready.popleft()
        self._in_flight[index] = chain
        return index, chain.body

    def is_done(self) -> bool:
        """Say whether no further request will be returned."""
        if self._in_flight:
            return False
        return self.stop_error is not None or not (
            self._waiting or self._claimed_elsewhere or self._ready
        )

    def keep(self, replies: Sequence[RawReply]) -> None:
        """Store replies, and then count them."""
        answers = [
            (self._in_flight[raw.index], raw, chat_format.reply_of(raw.text)) for raw in replies
        ]
        attempts = [self._attempt(chain, raw.text, reply) for chain, raw, reply in answers]
        calls = [
            self.tracker.record_reply(chain.body, reply, attempt.status, raw.seconds, raw.index)
            for (chain, raw, reply), attempt in zip(answers, attempts, strict=True)
        ]
        self.store.add(attempts, calls)
        self._show_cost(calls)
        for (chain, raw, reply), attempt in zip(answers, attempts, strict=True):
            del self._in_flight[raw.index]
            self.tracker.release(raw.index)
            if attempt.quarantined:
                self._stop_for_model(attempt.model)
                continue
            body = chain.body
            chain.add_reply(reply, self.parser)
            self._note_parsed(body, reply, chain.parsed)
            if chain.next_request is None:
                self._settle(raw.index, chain)
            else:
                self._waiting.appendleft(raw.index)
        self._stop_if_unparsed()

    def count_answered(self) -> int:
        """Return the number of requests with a reply, those that were stored before included."""
        return self._answered

    def record_failure(self, index: int, reason: str) -> None:
        """Record the cost of an attempt without a reply that may have been billed.

        Raises:
            BudgetError: the budget may not cover another attempt now: the request is pending again,
                and follows if what is in flight costs less than is set aside for it.
        """
        chain = self._in_flight[index]
        body = chain.body
        call = self.tracker.record_failure(body, reason)
        self.store.add((), [call])
        self._show_cost([call])
        if self.tracker.is_overspent():
            del self._in_flight[index]
            self.tracker.release(index)
            self._ready.appendleft((index, chain))
            raise self._budget_error(body)

    def record_refusal(self, index: int, reason: str) -> None:
        """Store that the server refused a request: its verdict is missing, with the reason."""
        chain = self._in_flight[index]
        attempt = Attempt(chain.body, reason, "", parsable=False, refused=True)
        call = self.tracker.record_refusal(chain.body)
        self.store.add([attempt], [call])
        self._show_cost([call])
        del self._in_flight[index]
        self.tracker.release(index)
        chain.refuse(reason)
        self._settle(index, chain)

    def pending_indices(self) -> list[int]:
        """Return the indices of the requests that the store does not answer, equal ones once."""
        pending = []
        while self._waiting:
            indices = [self._waiting.popleft() for _ in range(min(CLAIM_SIZE, len(self._waiting)))]
            pending += [
                index for index, chain in self._replay(indices) if chain.next_request is not None
            ]
        return pending

    def finish(self) -> list[Verdict]:
        """Return one verdict a request, in order.

        Raises:
            JudgeError: the session was stopped.
        CheckError: none of the first replies could be parsed.
        """
        self.store.release(self.owner)
        if self.stop_error is not None:
            raise self.stop_error
        return [verdict for verdict in self.verdicts if verdict is not None]

    def next_body(self) -> Body | None:
        """Return the request that would be asked next; None: none is claimed."""
        return self._ready[0][1].body if self._ready else None

    def is_cached(self) -> bool:
        """Say whether the store answers every request."""
        self._fill()
        return self.stop_error is None and self.is_done()

    def asked_keys(self) -> Iterator[str]:
        """Yield the keys of all requests and follow-ups."""
        remaining = deque(self.index_by_key.values())
        while remaining:
            indices = [remaining.popleft() for _ in range(min(CLAIM_SIZE, len(remaining)))]
            for _, chain in self._replay(indices):
                yield from chain.replies_used
                if chain.next_request is not None and (key := chain.key) not in chain.replies_used:
                    yield key

    def _budget_error(self, body: Body) -> BudgetError:
        return self.tracker.budget_error(len(self._ready) + len(self._waiting), body)

    def _fill(self) -> None:
        while self.stop_error is None and not self._ready and (indices := self._next_indices()):
            self._resolve(indices)

    def _next_indices(self) -> list[int]:
        """Return the next indices: new ones, or at intervals those claimed by other processes."""
        if self._waiting:
            return [self._waiting.popleft() for _ in range(min(CLAIM_SIZE, len(self._waiting)))]
        now = time.monotonic()
        if not self._claimed_elsewhere or now - self._last_poll < POLL_SECONDS:
            return []
        self._last_poll = now
        if len(self._batched) == len(self._claimed_elsewhere) and not self._in_flight:
            self.stop_error = BatchPendingError(
                f"{len(self._claimed_elsewhere)} requests are in a batch that has not been "
                "fetched: `--resume` fetches it"
            )
            return []
        return [
            self._claimed_elsewhere.popleft()
            for _ in range(min(CLAIM_SIZE, len(self._claimed_elsewhere)))
        ]

    def _resolve(self, indices: Sequence[int]) -> None:
        """Settle the requests that the store answers, and claim the others."""
        unanswered = {
            index: chain for index, chain in self._replay(indices) if chain.next_request is not None
        }
        by_key = {chain.key: index for index, chain in unanswered.items()}
        wanted = {key: unanswered[index].replies_used[key] for key, index in by_key.items()}
        if not wanted:
            return
        claimed = self.store.claim(wanted, self.owner, self.models)
        self._batched -= set(indices)
        self._batched |= {by_key[key] for key in claimed.batched}
        for key, index in by_key.items():
            if key in claimed.granted:
                self._ready.append((index, unanswered[index]))
            elif key in claimed.answered:
                self._waiting.appendleft(index)
            else:
                self._claimed_elsewhere.append(index)
        # two chains may arrive at the same request: the second waits for the first
        self._claimed_elsewhere.extend(
            index for index in unanswered if index not in by_key.values()
        )

    def _replay(self, indices: Sequence[int]) -> list[tuple[int, RequestChain]]:
        """Replay chains from the stored replies; settle those that end."""
        chains = [
            (p, RequestChain(self.requests[p], self.client, self.requests[p])) for p in indices
        ]
        stored: dict[str, list[str]] = {}
        while unknown := [
            key
            for _, chain in chains
            if chain.next_request is not None and (key := chain.key) not in stored
        ]:
            loaded = self.store.replies(unknown, self.models)
            stored |= {key: loaded.get(key, []) for key in unknown}
            for _, chain in chains:
                self._replay_chain(chain, stored)
        self._replay_refusals([chain for _, chain in chains if chain.next_request is not None])
        for index, chain in chains:
            if chain.next_request is None:
                self._settle(index, chain)
        return chains

    def _replay_refusals(self, chains: Sequence[RequestChain]) -> None:
        """End the chains whose next request was refused, unless missing ones are asked again."""
        if self.retry_missing:
            return
        keys = [chain.key for chain in chains]
        reasons = self.store.refusals(keys)
        for key, chain in zip(keys, chains, strict=True):
            if key in reasons:
                chain.refuse(reasons[key])

    def _replay_chain(self, chain: RequestChain, stored: Mapping[str, list[str]]) -> None:
        while chain.next_request is not None:
            key = chain.key
            replies = stored.get(key, [])
            if chain.replies_used[key] >= len(replies):
                return
            chain.add_reply(chat_format.reply_of(replies[chain.replies_used[key]]), self.parser)

    def _attempt(self, chain: RequestChain, text: str, reply: Reply) -> Attempt:
        name = model_check.served_name(reply.model)
        readable = not is_empty(reply) and self.parser.parse([*chain.replies, reply]) is not None
        return Attempt(chain.body, text, name, readable, quarantined=name not in self.models)

    def _note_parsed(self, body: Body, reply: Reply, parsed: ParsedVerdict | None) -> None:
        if self._has_parsed or (parsed is not None and parsed.spelled):
            self._has_parsed, self._unparsed = True, []
            return
        self._unparsed.append((body, reply, parsed))

    def _stop_if_unparsed(self) -> None:
        """Stop a run whose first replies are all of no use, before it is paid whole."""
        if len(self._unparsed) >= FIRST_REPLIES and self.stop_error is None and not self.is_done():
            self.stop_error = unparsed_error(self.client.display_name, self._unparsed)

    def _show_cost(self, calls: Sequence[Call]) -> None:
        prices = [call.dollars for call in calls if call.dollars is not None]
        if prices and isinstance(self.advance, CostDisplay):
            self.advance.add_cost(sum(prices))

    def _stop_for_model(self, name: str) -> None:
        """Stop because another model replied."""
        self._quarantined += 1
        self.stop_error = model_check.wrong_model_error(
            self.client.display_name, self.client.model, name, self._quarantined
        )

    def _settle(self, index: int, chain: RequestChain) -> None:
        self._has_parsed |= chain.parsed is not None and chain.parsed.spelled
        self._answered += chain.last_reply is not None
        indices = [index, *self._duplicates.get(index, ())]
        for target in indices:
            self.verdicts[target] = chain.verdict(self.requests[target].id)
        self.advance(len(indices))
