"""A judge with a memory: what is in the store is not asked again, what is asked is stored first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.judges import wire
from harness.judges.store import VerdictStore, key_of, opened
from harness.protocols import Advance, Reader
from harness.types import JudgeRequest, Reading, Verdict

Keep = Callable[[int, str], None]
"""Given a request's place and the reply's body, as soon as it came."""


class Client(Protocol):
    """Asks a judge, and remembers nothing."""

    model: str
    unread_attempts: int
    """How often a request is asked in all whose replies cannot be read."""

    def ask(self, bodies: Sequence[Mapping[str, Any]], keep: Keep) -> None:
        """Ask every request once and hand every reply on, in the order in which they come.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good.
        """
        ...


@dataclass(frozen=True)
class StoredJudge:
    """Implements `harness.protocols.Judge` with a client and the file of a verdict store."""

    client: Client
    path: Path

    @property
    def model(self) -> str:
        """The judge's name, as it is asked for."""
        return self.client.model

    def judge(
        self, requests: Sequence[JudgeRequest], read: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; requests that are the same are asked once.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good.
            StoreError: the store cannot be used.
        """
        with opened(self.path) as store:
            docket = self._docket(requests, read, store)
            advance(len(requests) - docket.waiting())
            while bodies := docket.open():
                self.client.ask(bodies, docket.keeper(bodies, store, advance))
        return [docket.verdict(request) for request in requests]

    def pending(self, requests: Sequence[JudgeRequest], read: Reader) -> int:
        """Return how many requests would have to be asked.

        Raises:
            StoreError: the store cannot be used.
        """
        if not self.path.exists():
            return len(_Docket(self.client, read, requests).open())
        with opened(self.path) as store:
            return len(self._docket(requests, read, store).open())

    def _docket(
        self, requests: Sequence[JudgeRequest], read: Reader, store: VerdictStore
    ) -> _Docket:
        docket = _Docket(self.client, read, requests)
        for key, replies in store.replies(docket.bodies).items():
            for reply in replies:
                docket.note(key, reply)
        return docket


@dataclass
class _Docket:
    """The requests of one call, by key, and what has been found about each."""

    client: Client
    read: Reader
    requests: Sequence[JudgeRequest]
    keys: dict[str, str] = field(default_factory=dict)
    """By request id."""
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    found: dict[str, list[tuple[Reading | None, str]]] = field(default_factory=dict)
    """By key: the reading and the model served of every attempt."""

    def __post_init__(self) -> None:
        for request in self.requests:
            body = wire.body_of(self.client.model, request)
            key = self.keys[request.id] = key_of(body)
            self.bodies[key] = body
            self.found[key] = []

    def note(self, key: str, reply: str) -> Reading | None:
        """Read a reply and remember what it says."""
        told = wire.reply_of(reply)
        reading = self.read(told)
        self.found[key].append((reading, told.model))
        return reading

    def settled(self, key: str) -> bool:
        """Say whether a request need not be asked (again)."""
        found = self.found[key]
        return len(found) >= self.client.unread_attempts or any(r is not None for r, _ in found)

    def open(self) -> list[dict[str, Any]]:
        """Return the requests that have to be asked."""
        return [body for key, body in self.bodies.items() if not self.settled(key)]

    def waiting(self) -> int:
        """Return how many verdicts are still open: requests that are the same all count."""
        return sum(not self.settled(key) for key in self.keys.values())

    def keeper(
        self, bodies: Sequence[Mapping[str, Any]], store: VerdictStore, advance: Advance
    ) -> Keep:
        """Return what is to be done with every reply: store it, and only then let it count."""

        def keep(place: int, reply: str) -> None:
            body, told = bodies[place], wire.reply_of(reply)
            key = key_of(body)
            store.add(body, reply, told.model, self.read(told) is not None)
            self.note(key, reply)
            if self.settled(key):
                advance(sum(other == key for other in self.keys.values()))

        return keep

    def verdict(self, request: JudgeRequest) -> Verdict:
        """Return the first reading that there is; without one, the last attempt's model."""
        found = self.found[self.keys[request.id]]
        best = next((pair for pair in found if pair[0] is not None), found[-1])
        return Verdict(request.id, *best)
