"""One queue of shards for several workers: an idle one takes the next, a lost one's goes back.

A pool starts the workers and reports their events; what a loss means is decided here.
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
"""Workers that one shard may cost: the first loss may be chance, the second is the shard's."""
SHUTDOWN_SECONDS = 10.0
"""Seconds that workers have to release what they hold."""


@dataclass(frozen=True)
class WorkerReady:
    """A worker has started, or has finished its shard."""

    worker: int


@dataclass(frozen=True)
class ShardProgress:
    """A worker has advanced in its shard."""

    worker: int
    count: int


@dataclass(frozen=True)
class WorkerLost:
    """A worker has ended without being asked to."""

    worker: int
    reason: str
    """How it ended, as far as is known."""


WorkerEvent = WorkerReady | ShardProgress | WorkerLost


class WorkerPool(Protocol):
    """Numbered workers; a lost one is replaced under its number."""

    def start(self, worker: int) -> None:
        """Start a worker; a WorkerReady event follows."""

    def assign(self, worker: int, shard: int) -> None:
        """Give an idle worker a shard."""

    def wait_for_events(self) -> Sequence[WorkerEvent]:
        """Wait until a worker reports something or is lost.

        Raises:
            HarnessError: raised by a worker.
        """

    def log_path(self, worker: int) -> Path:
        """Return the file that holds what a worker prints."""


@dataclass
class ShardQueue:
    """The shards that are left, and which worker runs which."""

    job: ShardedJob
    pool: WorkerPool
    restarts: int
    """How many more workers may replace lost ones."""
    advance: Advance
    pending: deque[int]
    alive: set[int] = field(default_factory=set)
    idle: set[int] = field(default_factory=set)
    running: dict[int, int] = field(default_factory=dict)
    """Shard by worker."""
    progress: Counter[int] = field(default_factory=Counter)
    """How far each worker is in its shard."""
    losses: Counter[int] = field(default_factory=Counter)
    """How many workers each shard has cost."""

    def start(self, worker: int) -> None:
        """Start a worker."""
        self.alive.add(worker)
        self.pool.start(worker)

    def handle(self, event: WorkerEvent) -> None:
        """Handle an event, and give idle workers the next shards.

        Raises:
            HarnessError: a shard has cost too many workers, or no worker is left.
        """
        match event:
            case ShardProgress(worker, count):
                self.progress[worker] += count
                self.advance(count)
            case WorkerReady(worker):
                self.running.pop(worker, None)
                self.progress.pop(worker, None)
                self.idle.add(worker)
            case WorkerLost(worker, reason):
                self._replace_worker(worker, reason)
        while self.idle and self.pending:
            worker = self.idle.pop()
            self.running[worker] = self.pending.popleft()
            self.pool.assign(worker, self.running[worker])

    def _replace_worker(self, worker: int, reason: str) -> None:
        self.alive.discard(worker)
        self.idle.discard(worker)
        self.advance(-self.progress.pop(worker, 0))
        if (shard := self.running.pop(worker, None)) is not None:
            self.losses[shard] += 1
            if self.losses[shard] == MAX_WORKER_LOSSES:
                raise fatal_shard_error(self.job, shard, reason, self.pool.log_path(worker))
            self.pending.appendleft(shard)
        if self.restarts:
            self.restarts -= 1
            self.start(worker)
        elif not self.alive:
            raise all_workers_lost_error(reason, self.pool.log_path(worker))


def run_shards(
    job: ShardedJob, pool: WorkerPool, workers: int, restarts: int, advance: Advance
) -> None:
    """Run every missing shard on a pool of workers.

    Args:
        job: what is run.
        pool: starts the workers.
        workers: how many; never more than there are missing shards.
        restarts: how many workers may replace lost ones.
        advance: called with progress, below 0 where a lost worker's is taken back.

    Raises:
        HarnessError: raised by a worker; a shard ended two workers; all workers are lost.
    """
    queue = ShardQueue(job, pool, restarts, advance, deque(job.missing()))
    advance(job.finished_size())
    for worker in range(min(workers, len(queue.pending))):
        queue.start(worker)
    while queue.pending or queue.running:
        for event in pool.wait_for_events():
            queue.handle(event)


def fatal_shard_error(job: ShardedJob, shard: int, reason: str, log: Path) -> HarnessError:
    """Return the error for a shard that ends every worker."""
    tail = log_tail(log)
    is_memory = "SIGKILL" in reason or "memory" in tail.lower()
    remedy = "reduce the batch of the engine or the oracle, or" if is_memory else "mend that, or"
    return HarnessError(
        f"{job.name(shard)} ended {MAX_WORKER_LOSSES} workers, the last of which {reason}: {tail}; "
        f"{'out of memory? ' if is_memory else ''}{remedy} remove those prompts; finished shards "
        f"are kept. Its log: {log}"
    )


def all_workers_lost_error(reason: str, log: Path) -> HarnessError:
    """Return the error for a job without workers."""
    return HarnessError(
        f"no worker is left; the last one {reason}: {log_tail(log)}. "
        f"Run the same command again: finished shards are kept. Its log: {log}"
    )
