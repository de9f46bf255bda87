"""Workers on a Ray cluster: actors, each on a node that has room."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core import jobs
from harness.core.jobs import RunShard, ShardedJob
from harness.errors import HarnessError, StoreError
from harness.launchers import error_files
from harness.launchers.scheduler import (
    SHUTDOWN_SECONDS,
    ShardProgress,
    WorkerEvent,
    WorkerLost,
    WorkerReady,
)
from harness.launchers.shard_entry import SHARDED_JOB_FILE, read_job, write_job

ActorReply = dict[str, Any]
"""An actor's progress (`advance`), or the error that it met (`error`), as plain data."""


class ShardActor:
    """An actor of the cluster, which holds an open job."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.job: ShardedJob
        self.run: RunShard

    def load(self, directory: str, log_path: str, working_directory: str) -> ActorReply:
        """Open the job in a directory, with the caller's working directory."""
        try:
            require_visible(Path(directory), SHARDED_JOB_FILE)
            with open(log_path, "ab", buffering=0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr
            with suppress(OSError):  # the node needs this directory for relative paths only
                os.chdir(working_directory)
            self.job = read_job(Path(directory))
            self.run = self.stack.enter_context(self.job.open(self.job.payload))
        except HarnessError as error:
            return {"error": error_files.to_data(error)}
        return {"advance": 0}

    def run_shard(self, shard: int) -> ActorReply:
        """Run a shard."""
        counts: list[int] = []
        try:
            jobs.run_shard(self.job, self.run, shard, counts.append)
        except HarnessError as error:
            return {"error": error_files.to_data(error)}
        return {"advance": sum(counts)}

    def close(self) -> None:
        """Close the job."""
        self.stack.close()


def require_visible(directory: Path, name: str) -> None:
    """Check that this node sees a file of the workspace.

    Raises:
        StoreError: it does not.
    """
    if not (directory / name).is_file():
        raise StoreError(
            f"the node {platform.node()} does not see {directory}: every node of a cluster must "
            "see the workspace under the same path; name a shared folder with --workspace"
        )


@dataclass
class RayWorkerPool:
    """Actors, each of which has one pending call at most."""

    ray: Any
    directory: Path
    per_worker: dict[str, int]
    """Resources of each actor: CPU, GPU."""
    start_timeout: float
    """Seconds that may pass before a first actor has started."""
    actors: dict[int, Any] = field(default_factory=dict)
    calls: dict[Any, int] = field(default_factory=dict)
    """Worker by pending call."""
    loaded: set[int] = field(default_factory=set)
    """Workers that have opened the job and must close it."""

    def start(self, worker: int) -> None:
        """Request an actor; it starts once a node has room."""
        remote_actor = self.ray.remote(
            num_cpus=self.per_worker["CPU"], num_gpus=self.per_worker["GPU"]
        )(ShardActor)
        self.loaded.discard(worker)
        self.actors[worker] = remote_actor.remote()
        arguments = (str(self.directory), str(self.log_path(worker)), os.getcwd())
        self.calls[self.actors[worker].load.remote(*arguments)] = worker

    def assign(self, worker: int, shard: int) -> None:
        """Have an actor run a shard."""
        self.calls[self.actors[worker].run_shard.remote(shard)] = worker

    def wait_for_events(self) -> list[WorkerEvent]:
        """Wait until a call has ended.

        Raises:
            HarnessError: raised by an actor, or no node had room for one before the timeout.
        """
        timeout = None if self.loaded else self.start_timeout
        finished, _ = self.ray.wait(list(self.calls), timeout=timeout)
        if not finished:
            raise no_worker_started_error(
                self.per_worker, self.start_timeout, self.ray.available_resources()
            )
        return [event for call in finished for event in self._events(call)]

    def _events(self, call: Any) -> list[WorkerEvent]:
        worker = self.calls.pop(call)
        try:
            reply = self.ray.get(call)
        except self.ray.exceptions.RayActorError as error:
            self.loaded.discard(worker)
            self.ray.kill(self.actors.pop(worker))
            return [WorkerLost(worker, describe_loss(error))]
        if "error" in reply:
            raise error_files.from_data(reply["error"])
        self.loaded.add(worker)
        return [ShardProgress(worker, reply["advance"]), WorkerReady(worker)]

    def log_path(self, worker: int) -> Path:
        """Return the file that holds what an actor prints."""
        return self.directory / f"worker-{worker}.log"

    def shut_down(self) -> None:
        """Have every actor close the job."""
        calls = [self.actors[worker].close.remote() for worker in self.loaded]
        if calls:
            self.ray.wait(calls, num_returns=len(calls), timeout=SHUTDOWN_SECONDS)

    def kill_all(self) -> None:
        """Kill every actor."""
        while self.actors:
            self.ray.kill(self.actors.popitem()[1])


@contextmanager
def ray_pool(
    ray: Any, job: ShardedJob, per_worker: dict[str, int], start_timeout: float
) -> Iterator[RayWorkerPool]:
    """Yield a pool of actors; all of them end with the context."""
    directory = job.directory / "workers"
    write_job(job, directory)
    pool = RayWorkerPool(ray, directory, per_worker, start_timeout)
    try:
        yield pool
        pool.shut_down()
    finally:
        pool.kill_all()


def describe_loss(error: Exception) -> str:
    """Say how an actor ended: the sentence of Ray's message with the cause, if there is one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("The actor is dead because")]
    reason, *_ = [*reasons, *lines, type(error).__name__]
    return f"was lost ({reason.partition('. ')[0].removesuffix('.')})"


def no_worker_started_error(
    per_worker: dict[str, int], seconds: float, free: dict[str, float]
) -> HarnessError:
    """Return the error for a cluster that starts no worker."""
    needed = ", ".join(f"{count} {name}" for name, count in per_worker.items() if count)
    available = ", ".join(f"{free.get(name, 0):g} {name}" for name in per_worker)
    return HarnessError(
        f"no worker has started in {seconds:.0f} seconds: each takes {needed}, and the cluster "
        f"has free: {available}; look at `ray status`, or lower launcher.cpus_per_worker"
    )
