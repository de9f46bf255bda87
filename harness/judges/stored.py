"""A judge with a memory: what is in the store is not asked again, what is asked is stored first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from harness.judges import wire
from harness.judges.store import Attempt, VerdictStore, key_of, opened
from harness.protocols import Reader
from harness.types import Advance, JudgeRequest, Reading, Verdict

Keep = Callable[[Sequence[tuple[int, str]]], None]
"""Given some requests' places, each with the body of its reply, soon after they came."""
Finding = tuple[Reading | None, str]
"""What was read in an attempt, and the model that the server says it served."""


class Client(Protocol):
    """Asks a judge, and remembers nothing."""

    model: str
    unread_attempts: int
    """How often a request is asked in all whose replies cannot be read."""

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
        self, requests: Sequence[JudgeRequest], read: Reader, advance: Advance
    ) -> list[Verdict]:
        """Return one verdict a request, in order; requests that are the same are asked once.

        Raises:
            JudgeError: the judge cannot be reached, or refuses for good.
            StoreError: the store cannot be used.
        """
        with opened(self.path) as store:
            docket = self._docket(requests, read)
            docket.recall(store)
            advance(sum(docket.settled(key) for key in docket.keys.values()))
            while keys := docket.open():
                bodies = [docket.bodies[key] for key in keys]
                self.client.ask(bodies, docket.keeper(keys, store, advance))
        return [docket.verdict(request.id) for request in requests]

    def pending(self, requests: Sequence[JudgeRequest], read: Reader) -> int:
        """Return how many requests would have to be asked.

        Raises:
            StoreError: the store cannot be used.
        """
        docket = self._docket(requests, read)
        if self.path.exists():
            with opened(self.path) as store:
                docket.recall(store)
        return len(docket.open())

    def _docket(self, requests: Sequence[JudgeRequest], read: Reader) -> _Docket:
        bodies = {r.id: wire.body_of(self.client.model, r) for r in requests}
        return _Docket(bodies, read, self.client.unread_attempts)


class _Docket:
    """The requests of one call, by key, and what has been found about each."""

    def __init__(self, bodies: Mapping[str, dict[str, Any]], read: Reader, limit: int) -> None:
        self.read, self.limit = read, limit
        self.keys = {name: key_of(body) for name, body in bodies.items()}
        self.bodies = {self.keys[name]: body for name, body in bodies.items()}
        self.sharing = Counter(self.keys.values())
        self.found: dict[str, list[Finding]] = {key: [] for key in self.bodies}

    def recall(self, store: VerdictStore) -> None:
        """Read what the store holds."""
        for key, replies in store.replies(self.bodies).items():
            told = [wire.reply_of(reply) for reply in replies]
            self.found[key] = [(self.read(reply), reply.model) for reply in told]

    def settled(self, key: str) -> bool:
        """Say whether a request need not be asked (again)."""
        found = self.found[key]
        return len(found) >= self.limit or any(reading for reading, _ in found)

    def open(self) -> list[str]:
        """Return the keys of what has to be asked."""
        return [key for key in self.bodies if not self.settled(key)]

    def keeper(self, keys: Sequence[str], store: VerdictStore, advance: Advance) -> Keep:
        """Return what is to be done with every reply: store it, and only then let it count."""

        def keep(replies: Sequence[tuple[int, str]]) -> None:
            found = []
            for place, text in replies:
                told = wire.reply_of(text)
                found.append((keys[place], text, (self.read(told), told.model)))
            store.add(
                Attempt(self.bodies[key], text, model, readable=reading is not None)
                for key, text, (reading, model) in found
            )
            for key, _, finding in found:
                self.found[key].append(finding)
                advance(self.sharing[key] if self.settled(key) else 0)

        return keep

    def verdict(self, request_id: str) -> Verdict:
        """Return the first reading that there is; without one, the last attempt's model."""
        found = self.found[self.keys[request_id]]
        reading, model = next((pair for pair in found if pair[0]), found[-1])
        return Verdict(request_id, reading, model)
