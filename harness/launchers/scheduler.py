"""One queue of pieces for several workers: whoever is free takes the next, a lost one's goes back.

How workers are started and heard is the crew's; what is done when one is lost is decided here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.core.io import log_tail
from harness.core.jobs import ShardedJob
from harness.errors import HarnessError
from harness.types import Advance

MAX_WORKER_LOSSES = 2
"""How many workers a piece may cost: after one, chance is to blame; after two, the piece."""


@dataclass(frozen=True)
class WorkerReady:
    """A worker has started, or has finished its piece."""

    worker: int


@dataclass(frozen=True)
class ShardProgress:
    """A worker has come further with its piece."""

    worker: int
    count: int


@dataclass(frozen=True)
class WorkerLost:
    """A worker is gone."""

    worker: int
    reason: str
    """How it ended, as far as is known."""


WorkerEvent = WorkerReady | ShardProgress | WorkerLost


class WorkerPool(Protocol):
    """Workers by number; one that was lost is replaced under its number."""

    def start(self, worker: int) -> None:
        """Start a worker; it is free once it says so."""

    def assign(self, worker: int, shard: int) -> None:
        """Give a free worker a piece."""

    def wait_for_events(self) -> Sequence[WorkerEvent]:
        """Wait until a worker says something, or is lost.

        Raises:
            HarnessError: what a worker raised.
        """

    def log_path(self, worker: int) -> Path:
        """Return where everything goes that a worker prints."""


@dataclass
class Queue:
    """The pieces that are left, and who has which."""

    work: ShardedJob
    crew: WorkerPool
    restarts: int
    """How many more workers may be started for lost ones."""
    advance: Advance
    waiting: deque[int]
    alive: set[int] = field(default_factory=set)
    idle: set[int] = field(default_factory=set)
    held: dict[int, int] = field(default_factory=dict)
    """The piece that each worker at work has."""
    told: Counter[int] = field(default_factory=Counter)
    """How far each worker says that its piece is."""
    deaths: Counter[int] = field(default_factory=Counter)
    """How many workers each piece has cost."""

    def take(self, event: WorkerEvent) -> None:
        """Draw the consequence of an event."""
        match event:
            case ShardProgress(worker, count):
                self.told[worker] += count
                self.advance(count)
            case WorkerReady(worker):
                self.held.pop(worker, None)
                self.told.pop(worker, None)
                self.idle.add(worker)
            case WorkerLost(worker, how):
                self._lose(worker, how)
        while self.idle and self.waiting:
            worker = self.idle.pop()
            self.held[worker] = self.waiting.popleft()
            self.crew.assign(worker, self.held[worker])

    def start(self, worker: int) -> None:
        """Start a worker."""
        self.alive.add(worker)
        self.crew.start(worker)

    def _lose(self, worker: int, how: str) -> None:
        """Put a lost worker's piece first in the queue, and replace the worker while that may be.

        Raises:
            HarnessError: the piece has cost too many workers, or no worker is left.
        """
        self.alive.discard(worker)
        self.idle.discard(worker)
        self.advance(-self.told.pop(worker, 0))
        if (piece := self.held.pop(worker, None)) is not None:
            self.deaths[piece] += 1
            if self.deaths[piece] == MAX_WORKER_LOSSES:
                raise fatal_shard_error(self.work, piece, how, self.crew.log_path(worker))
            self.waiting.appendleft(piece)
        if self.restarts:
            self.restarts -= 1
            self.start(worker)
        elif not self.alive:
            raise all_workers_lost_error(how, self.crew.log_path(worker))


def dispatch(
    work: ShardedJob, crew: WorkerPool, workers: int, restarts: int, advance: Advance
) -> None:
    """Have a crew of so many workers do every piece that does not stand.

    Raises:
        HarnessError: what a worker raised; a piece ended its worker twice; all workers are lost.
    """
    queue = Queue(work, crew, restarts, advance, deque(work.missing()))
    advance(sum(work.sizes) - sum(work.sizes[piece] for piece in queue.waiting))
    for worker in range(min(workers, len(queue.waiting))):
        queue.start(worker)
    while queue.waiting or queue.held:
        for event in crew.wait_for_events():
            queue.take(event)


def fatal_shard_error(job: ShardedJob, shard: int, reason: str, log: Path) -> HarnessError:
    """Return the error of a piece that no worker survives."""
    return HarnessError(
        f"{job.name(shard)} ended {MAX_WORKER_LOSSES} workers, the last of which {reason}: {log_excerpt(log)}. "
        "Out of memory? Take a smaller batch of the engine or the oracle, or leave those prompts "
        f"out; finished pieces are kept. Its log: {log}"
    )


def all_workers_lost_error(reason: str, log: Path) -> HarnessError:
    """Return the error that says that nobody is left to work."""
    return HarnessError(
        f"no worker is left; the last one {reason}: {log_excerpt(log)}. Run the same command again: "
        f"finished pieces are kept. Its log: {log}"
    )


def log_excerpt(log: Path) -> str:
    """Return the last that a worker said."""
    return log_tail(log)
