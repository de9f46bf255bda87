"""A judge with a memory: what is in the store is not asked again, what is asked is stored first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.judges import wire
from harness.judges.store import Attempt, VerdictStore, key_of, opened
from harness.protocols import Reader
from harness.types import Advance, JudgeRequest, Reading, Reply, Verdict

Keep = Callable[[Sequence[tuple[int, str]]], None]
"""Given some requests' places, each with the body of its reply, soon after they came."""


class Client(Protocol):
    """Asks a judge, and remembers nothing."""

    model: str
    unread_attempts: int
    """How many replies a request may have in all, follow-ups included, while none can be read."""

    def ask(self, bodies: Sequence[Mapping[str, Any]], keep: Keep) -> None:
        """Ask every request once and hand the replies on as they come.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good.
        """
        ...


class StoredJudge:
    """Implements `harness.protocols.Judge` with a client and the file of a verdict store."""

    def __init__(self, client: Client, path: Path) -> None:
        self.client, self.path, self.model = client, path, client.model

    def judge(
        self, requests: Sequence[JudgeRequest], reader: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; requests that are the same are asked once.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good.
            StoreError: the store cannot be used.
        """
        with opened(self.path) as store:
            docket = _Docket(requests, reader, self.client)
            docket.recall(store)
            advance(docket.settled())
            while asked := docket.open():
                bodies = [chain.body for chain in asked]
                self.client.ask(bodies, docket.keeper(asked, store, advance))
                docket.recall(store)
        return [docket.verdict(request.id) for request in requests]

    def pending(self, requests: Sequence[JudgeRequest], reader: Reader) -> int:
        """Return how many requests would have to be asked; follow-ups are not foreseen.

        Raises:
            StoreError: the store cannot be used.
        """
        docket = _Docket(requests, reader, self.client)
        if self.path.exists():
            with opened(self.path) as store:
                docket.recall(store)
        return len(docket.open())


@dataclass
class _Chain:
    """A request, the replies to it and to its follow-ups, and what is to be asked next."""

    request: JudgeRequest
    model: str
    next: JudgeRequest | None
    replies: list[Reply] = field(default_factory=list)
    reading: Reading | None = None
    used: Counter[str] = field(default_factory=Counter)
    """By key, how many of its stored attempts are among the replies."""

    @property
    def body(self) -> dict[str, Any]:
        """What is to be asked next."""
        assert self.next is not None
        return wire.body_of(self.model, self.next)

    def take(self, reply: Reply, reader: Reader, limit: int) -> None:
        """Count a reply to what was asked."""
        self.used[key_of(self.body)] += 1
        self.replies.append(reply)
        self.reading = reader.read(self.replies)
        done = self.reading is not None or len(self.replies) >= limit
        self.next = None if done else reader.follow_up(self.request, self.replies)


class _Docket:
    """The requests of one call and what has been found about each; equal ones share a chain."""

    def __init__(self, requests: Sequence[JudgeRequest], reader: Reader, client: Client) -> None:
        self.reader, self.limit = reader, client.unread_attempts
        self.keys = {r.id: key_of(wire.body_of(client.model, r)) for r in requests}
        self.chains = {self.keys[r.id]: _Chain(r, client.model, r) for r in requests}
        self.sharing = Counter(self.keys.values())
        self.stored: dict[str, list[str]] = {}

    def recall(self, store: VerdictStore) -> None:
        """Follow every chain as far as the store's replies reach."""
        while unknown := [k for c in self.open() if (k := key_of(c.body)) not in self.stored]:
            found = store.replies(unknown)
            self.stored |= {key: found.get(key, []) for key in unknown}
            for chain in self.open():
                self._follow(chain)

    def _follow(self, chain: _Chain) -> None:
        while chain.next is not None:
            key = key_of(chain.body)
            replies = self.stored.get(key, [])
            if chain.used[key] >= len(replies):
                return
            chain.take(wire.reply_of(replies[chain.used[key]]), self.reader, self.limit)

    def open(self) -> list[_Chain]:
        """Return the chains in which something has to be asked."""
        return [chain for chain in self.chains.values() if chain.next is not None]

    def settled(self) -> int:
        """Return how many requests need not be asked (again)."""
        return sum(self.sharing[k] for k, chain in self.chains.items() if chain.next is None)

    def keeper(self, asked: Sequence[_Chain], store: VerdictStore, advance: Advance) -> Keep:
        """Return what is to be done with every reply: store it, and only then let it count."""

        def keep(replies: Sequence[tuple[int, str]]) -> None:
            told = [(asked[place], text, wire.reply_of(text)) for place, text in replies]
            store.add(
                Attempt(chain.body, text, reply.model, readable=self._readable(chain, reply))
                for chain, text, reply in told
            )
            for chain, text, reply in told:
                self.stored.setdefault(key_of(chain.body), []).append(text)
                chain.take(reply, self.reader, self.limit)
                first = key_of(wire.body_of(chain.model, chain.request))
                advance(self.sharing[first] if chain.next is None else 0)

        return keep

    def _readable(self, chain: _Chain, reply: Reply) -> bool:
        return self.reader.read([*chain.replies, reply]) is not None

    def verdict(self, request_id: str) -> Verdict:
        """Return what was read, and what the judge said; without a reading, all of its replies."""
        chain = self.chains[self.keys[request_id]]
        text = "\n".join(reply.content for reply in chain.replies)
        return Verdict(request_id, chain.reading, chain.replies[-1].model, text)
