"""The requests of one run: which are stored, which are asked, what has been found about each.

Requests are rendered when their turn comes, and replies are let go when they are read: what grows
with a run is a key, a number and a verdict a request.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import BatchPendingError, JudgeError
from harness.judges import identity, wire
from harness.judges.desk import Answered, Client
from harness.judges.ledger import Ledger
from harness.judges.owners import Owner, ourselves
from harness.judges.store import Attempt, VerdictStore, key_of
from harness.judges.wire import Body
from harness.protocols import Reader
from harness.types import Advance, JudgeRequest, Reading, Reply, Verdict

AT_ONCE = 32
"""Requests that are looked up and claimed together."""
LOOK_SECONDS = 0.2
"""How often those are looked up that another process is asking."""


@dataclass
class Chain:
    """A request, the replies to it and to its follow-ups, and what is to be asked next."""

    request: JudgeRequest
    client: Client
    next: JudgeRequest | None
    replies: list[Reply] = field(default_factory=list)
    reading: Reading | None = None
    last: Reply | None = None
    """The last reply, which may have been empty."""
    refusal: str = ""
    """Why a server would not take what was to be asked next."""
    taken: int = 0
    """Replies in all, empty ones included."""
    used: Counter[str] = field(default_factory=Counter)
    """By key, how many of its stored attempts are among the replies."""

    @property
    def body(self) -> Body:
        """What is to be asked next."""
        assert self.next is not None
        return self.client.body(self.next)

    def take(self, reply: Reply, reader: Reader) -> None:
        """Count a reply to what was asked; after an empty one the same is asked again."""
        self.used[key_of(self.body)] += 1
        self.last, self.taken = reply, self.taken + 1
        asked, self.next = self.next, None
        if said := not empty(reply):
            self.replies.append(reply)
            self.reading = reader.read(self.replies)
        if self.reading is None and self.taken < self.client.unread_attempts:
            self.next = reader.follow_up(self.request, self.replies) if said else asked

    def refuse(self, told: str) -> None:
        """End without a reading: a server will not take what was to be asked next."""
        self.used[key_of(self.body)] += 0  # no reply, but on the trail of what was asked
        self.refusal, self.next = told, None

    def verdict(self, request_id: str) -> Verdict:
        """Return what was read, and what the judge said; without a reading, all of its replies."""
        model = identity.served(self.last.model) if self.last else ""
        text = "\n".join(reply.content for reply in self.replies)
        return Verdict(request_id, self.reading, model, text, self.refusal)


def empty(reply: Reply) -> bool:
    """Say whether a judge has said nothing at all: no word, and no log-probabilities."""
    return not reply.content.strip() and not reply.top_logprobs


@dataclass
class Docket:
    """Implements `Desk` over a store; equal requests share a chain."""

    requests: Sequence[JudgeRequest]
    reader: Reader
    client: Client
    store: VerdictStore
    ledger: Ledger
    models: frozenset[str]
    """Names under which the judge may be served."""
    advance: Advance
    owner: Owner = field(default_factory=ourselves)
    stop: JudgeError | None = None
    """Why no more is asked."""
    keys: dict[str, int] = field(default_factory=dict)
    """By key, the first place that asks for it."""
    verdicts: list[Verdict | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._theirs: deque[int] = deque()
        self._looked = 0.0
        self._batched: set[int] = set()
        self._ready: deque[tuple[int, Chain]] = deque()
        self._asked: dict[int, Chain] = {}
        self._twins: dict[int, list[int]] = defaultdict(list)
        self._strange = 0
        self.verdicts = [None] * len(self.requests)
        for place in range(len(self.requests)):
            key = key_of(self.client.body(self.requests[place]))
            first = self.keys.setdefault(key, place)
            (self._waiting if first == place else self._twins[first]).append(place)

    def next(self) -> tuple[int, Body] | None:
        """Return a place and what is to be asked there, claimed; None: nothing at the moment."""
        self._fill()
        if self.stop is not None or not self._ready:
            return None
        place, chain = self._ready[0]
        if not self.ledger.reserve(place, chain.body):
            self.stop = self.ledger.spent_out(len(self._ready) + len(self._waiting))
            return None
        self._ready.popleft()
        self._asked[place] = chain
        return place, chain.body

    def done(self) -> bool:
        """Say whether nothing will be given out any more."""
        if self._asked:
            return False
        return self.stop is not None or not (self._waiting or self._theirs or self._ready)

    def keep(self, answered: Sequence[Answered]) -> None:
        """Store replies, and only then let them count."""
        told = [(self._asked[one.place], one, wire.reply_of(one.text)) for one in answered]
        attempts = [self._attempt(chain, one.text, reply) for chain, one, reply in told]
        calls = [
            self.ledger.answered(chain.body, reply, attempt.status, one.seconds)
            for (chain, one, reply), attempt in zip(told, attempts, strict=True)
        ]
        self.store.add(attempts, calls)
        for (chain, one, reply), attempt in zip(told, attempts, strict=True):
            del self._asked[one.place]
            self.ledger.free(one.place)
            if attempt.quarantined:
                self._refuse(attempt.model)
                continue
            chain.take(reply, self.reader)
            if chain.next is None:
                self._settle(one.place, chain)
            else:
                self._waiting.appendleft(one.place)

    def failed(self, place: int, told: str) -> None:
        """Note a try without a verdict that may be on the bill all the same."""
        self.store.add((), [self.ledger.failed(self._asked[place].body, told)])

    def refused(self, place: int, told: str) -> None:
        """Keep that the server will not take a request: its verdict is missing, and says why."""
        chain = self._asked[place]
        attempt = Attempt(chain.body, told, "", readable=False, refused=True)
        self.store.add([attempt], [self.ledger.refused(chain.body)])
        del self._asked[place]
        self.ledger.free(place)
        chain.refuse(told)
        self._settle(place, chain)

    def unsettled(self) -> list[int]:
        """Return the first places of requests that have to be asked, after a look at the store."""
        left = []
        while self._waiting:
            places = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            left += [place for place, chain in self._recalled(places) if chain.next is not None]
        return left

    def settled(self) -> list[Verdict]:
        """Return one verdict a request, in order.

        Raises:
            JudgeError: why there is not.
        """
        self.store.release(self.owner)
        if self.stop is not None:
            raise self.stop
        return [verdict for verdict in self.verdicts if verdict is not None]

    def settles(self) -> bool:
        """Look until there is something to ask; say whether the store settles all there is."""
        self._fill()
        return self.stop is None and self.done()

    def trail(self) -> Iterator[str]:
        """Yield the key of everything that was asked, follow-ups included."""
        firsts = deque(self.keys.values())
        while firsts:
            places = [firsts.popleft() for _ in range(min(AT_ONCE, len(firsts)))]
            for _, chain in self._recalled(places):
                yield from chain.used
                if chain.next is not None and (key := key_of(chain.body)) not in chain.used:
                    yield key

    def _fill(self) -> None:
        while self.stop is None and not self._ready and (places := self._batch()):
            self._look(places)

    def _batch(self) -> list[int]:
        """Return places to look at: new ones, or now and then those that others are asking."""
        if self._waiting:
            return [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        now = time.monotonic()
        if not self._theirs or now - self._looked < LOOK_SECONDS:
            return []
        self._looked = now
        if len(self._batched) == len(self._theirs) and not self._asked:
            self.stop = BatchPendingError(
                f"{len(self._theirs)} requests are in a batch that is under way: "
                "`--resume` fetches it"
            )
            return []
        return [self._theirs.popleft() for _ in range(min(AT_ONCE, len(self._theirs)))]

    def _look(self, places: Sequence[int]) -> None:
        """Settle what the store knows, claim the rest."""
        open_ = {place: chain for place, chain in self._recalled(places) if chain.next is not None}
        by_key = {key_of(chain.body): place for place, chain in open_.items()}
        wanted = {key: open_[place].used[key] for key, place in by_key.items()}
        if not wanted:
            return
        claimed = self.store.claim(wanted, self.owner, self.models)
        self._batched -= set(places)
        self._batched |= {by_key[key] for key in claimed.batched}
        for key, place in by_key.items():
            if key in claimed.ours:
                self._ready.append((place, open_[place]))
            elif key in claimed.answered:
                self._waiting.appendleft(place)
            else:
                self._theirs.append(place)
        # two chains may come to ask the same: the second waits for the first
        self._theirs.extend(place for place in open_ if place not in by_key.values())

    def _recalled(self, places: Sequence[int]) -> list[tuple[int, Chain]]:
        """Follow chains as far as the store's replies reach; settle those that end."""
        chains = [(p, Chain(self.requests[p], self.client, self.requests[p])) for p in places]
        stored: dict[str, list[str]] = {}
        while unknown := [
            key
            for _, chain in chains
            if chain.next is not None and (key := key_of(chain.body)) not in stored
        ]:
            found = self.store.replies(unknown, self.models)
            stored |= {key: found.get(key, []) for key in unknown}
            for _, chain in chains:
                self._follow(chain, stored)
        self._recall_refusals([chain for _, chain in chains if chain.next is not None])
        for place, chain in chains:
            if chain.next is None:
                self._settle(place, chain)
        return chains

    def _recall_refusals(self, chains: Sequence[Chain]) -> None:
        """End the chains that a server has refused to follow, unless it is to be asked again."""
        if getattr(self.client, "ask_refused", False):
            return
        keys = [key_of(chain.body) for chain in chains]
        told = self.store.refusals(keys)
        for key, chain in zip(keys, chains, strict=True):
            if key in told:
                chain.refuse(told[key])

    def _follow(self, chain: Chain, stored: Mapping[str, list[str]]) -> None:
        while chain.next is not None:
            key = key_of(chain.body)
            replies = stored.get(key, [])
            if chain.used[key] >= len(replies):
                return
            chain.take(wire.reply_of(replies[chain.used[key]]), self.reader)

    def _attempt(self, chain: Chain, text: str, reply: Reply) -> Attempt:
        name = identity.served(reply.model)
        readable = not empty(reply) and self.reader.read([*chain.replies, reply]) is not None
        return Attempt(chain.body, text, name, readable, quarantined=name not in self.models)

    def _refuse(self, name: str) -> None:
        """Ask no more: another model answers."""
        self._strange += 1
        who = getattr(self.client, "who", f"the judge {self.client.model}")
        self.stop = identity.stranger(who, self.client.model, name, self._strange)

    def _settle(self, place: int, chain: Chain) -> None:
        places = [place, *self._twins.get(place, ())]
        for one in places:
            self.verdicts[one] = chain.verdict(self.requests[one].id)
        self.advance(len(places))
