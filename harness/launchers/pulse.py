"""Signs of life and messages between processes, through torch's store.

While work is under way only this thread asks the store: one whose machine is gone may never answer.
Whoever looks at what the thread has heard is answered at once, and told who has fallen silent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

BEAT = 0.2
"""Seconds between two looks at the store."""


class Pulse(threading.Thread):
    """What a process hears of the others, and lets them hear; times are of its own clock."""

    def __init__(
        self, store: Store, rank: int | None, others: Iterable[int], patience: float
    ) -> None:
        """Look at a store.

        Args:
            store: where everybody meets.
            rank: who gives signs of life here; None: somebody else does.
            others: whose signs of life are looked for.
            patience: seconds after which a silent process counts as lost.
        """
        super().__init__(daemon=True)
        self.rank = rank
        self._store = store
        self._patience = patience
        self._beats = 0
        self._heard: dict[str, str] = {}
        self._awaited: set[str] = set()
        self._counts: dict[str, int] = {}
        self._outbox: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._last = {other: (b"", time.monotonic()) for other in others}
        self._looked = time.monotonic()
        self._ended = threading.Event()
        self._gone = False

    def run(self) -> None:
        """Look at the store until this is closed or the store is gone."""
        try:
            while not self._ended.wait(BEAT):
                self._look()
            self._look()  # the last words
        except RuntimeError:  # all errors of torch's stores are
            self._gone = True

    def close(self, seconds: float = 5.0) -> None:
        """Send what is still to be told, and end."""
        self._ended.set()
        if self.is_alive():
            self.join(seconds)

    def tell(self, key: str, value: str) -> None:
        """Let everybody know a value, once."""
        self._outbox.put((key, value))

    def heard(self, key: str) -> str | None:
        """Return what somebody told under a key, or None so far."""
        self._awaited.add(key)
        return self._heard.get(key)

    def count(self, key: str) -> int:
        """Return a sum to which several add."""
        return self._counts.setdefault(key, 0)

    def begun(self) -> bool:
        """Say whether every other has given a sign of life."""
        return all(beat for beat, _ in self._last.values())

    def lost(self) -> list[int]:
        """Return who has been silent for too long: everybody, where the store is gone."""
        now = time.monotonic()
        if self._gone or now - self._looked > self._patience:
            return list(self._last)
        return [rank for rank, (_, at) in self._last.items() if now - at > self._patience]

    def _look(self) -> None:
        while not self._outbox.empty():
            self._store.set(*self._outbox.get())
        if self.rank is not None:
            self._beats += 1
            self._store.set(alive(self.rank), str(self._beats))
        for key in tuple(self._awaited):
            if key not in self._heard and self._store.check([key]):
                self._heard[key] = self._store.get(key).decode()
        for key in list(self._counts):
            self._counts[key] = self._store.add(key, 0)
        for rank, (before, _) in self._last.items():
            beat = self._store.get(alive(rank)) if self._store.check([alive(rank)]) else b""
            if beat != before:
                self._last[rank] = (beat, time.monotonic())
        self._looked = time.monotonic()


def alive(rank: int) -> str:
    """Return the key of a process's signs of life."""
    return f"alive/{rank}"
