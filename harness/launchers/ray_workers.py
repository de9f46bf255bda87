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
from harness.launchers.scheduler import ShardProgress, WorkerEvent, WorkerLost, WorkerReady
from harness.launchers.shard_entry import SHARDED_JOB_FILE, read_job, write_job

SHUTDOWN_SECONDS = 10.0

ActorReply = dict[str, Any]
"""What an actor answers: how far it has come, or the error that it met, as plain data."""


class ShardActor:
    """What an actor of the cluster holds: the work, open."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.job: ShardedJob
        self.run: RunShard

    def load(self, directory: str, log_path: str, working_directory: str) -> ActorReply:
        """Open the work that lies in a place, from now on in the folder of whoever asks."""
        try:
            require_visible(Path(directory), SHARDED_JOB_FILE)
            with open(log_path, "ab", buffering=0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr
            with suppress(OSError):  # only who uses relative paths needs the same folder
                os.chdir(working_directory)
            self.job = read_job(Path(directory))
            self.run = self.stack.enter_context(self.job.open(self.job.payload))
        except HarnessError as error:
            return {"error": error_files.to_data(error)}
        return {"advance": 0}

    def run_shard(self, shard: int) -> ActorReply:
        """Do a piece."""
        counts: list[int] = []
        try:
            jobs.run_shard(self.job, self.run, shard, counts.append)
        except HarnessError as error:
            return {"error": error_files.to_data(error)}
        return {"advance": sum(counts)}

    def close(self) -> None:
        """Put away what is held."""
        self.stack.close()


def require_visible(directory: Path, name: str) -> None:
    """Look whether this node sees where the work lies.

    Raises:
        StoreError: it does not.
    """
    if not (directory / name).is_file():
        raise StoreError(
            f"the node {platform.node()} does not see {directory}: every node of a cluster must see "
            "the workspace under the same path; name a shared folder with --workspace"
        )


@dataclass
class RayWorkerPool:
    """Actors, spoken to in calls whose results come when they are done."""

    ray: Any
    directory: Path
    per_worker: dict[str, int]
    """What each takes of the cluster: CPU, GPU."""
    start_timeout: float
    """Seconds that may pass while nobody has started."""
    actors: dict[int, Any] = field(default_factory=dict)
    calls: dict[Any, int] = field(default_factory=dict)
    """Whose every call is that is under way."""
    ready: set[int] = field(default_factory=set)

    def start(self, worker: int) -> None:
        """Ask for an actor; it starts once a node has room."""
        remote_actor = self.ray.remote(
            num_cpus=self.per_worker["CPU"], num_gpus=self.per_worker["GPU"]
        )(ShardActor)
        self.ready.discard(worker)
        self.actors[worker] = remote_actor.remote()
        arguments = (str(self.directory), str(self.log_path(worker)), os.getcwd())
        self.calls[self.actors[worker].begin.remote(*arguments)] = worker

    def assign(self, worker: int, shard: int) -> None:
        """Have an actor do a piece."""
        self.calls[self.actors[worker].finish.remote(shard)] = worker

    def wait_for_events(self) -> list[WorkerEvent]:
        """Wait until a call has ended.

        Raises:
            HarnessError: what an actor raised; or no node has had room for one all the time.
        """
        timeout = None if self.ready else self.start_timeout
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
            self.ready.discard(worker)
            self._kill(self.actors.pop(worker))
            return [WorkerLost(worker, describe_loss(error))]
        if "error" in reply:
            raise error_files.from_data(reply["error"])
        self.ready.add(worker)
        return [ShardProgress(worker, reply["advance"]), WorkerReady(worker)]

    def log_path(self, worker: int) -> Path:
        """Return where everything goes that an actor prints."""
        return self.directory / f"worker-{worker}.log"

    def shut_down(self) -> None:
        """Have every actor put away what it holds."""
        calls = [self.actors[worker].leave.remote() for worker in self.ready]
        if calls:
            self.ray.wait(calls, num_returns=len(calls), timeout=SHUTDOWN_SECONDS)

    def kill_all(self) -> None:
        """End every actor, at once."""
        while self.actors:
            self._kill(self.actors.popitem()[1])

    def _kill(self, actor: Any) -> None:
        self.ray.kill(actor)


@contextmanager
def ray_pool(
    ray: Any, job: ShardedJob, per_worker: dict[str, int], start_timeout: float
) -> Iterator[RayWorkerPool]:
    """Yield a crew for the work, of whom nobody outlives the block."""
    directory = job.directory / "workers"
    write_job(job, directory)
    pool = RayWorkerPool(ray, directory, per_worker, start_timeout)
    try:
        yield pool
        pool.shut_down()
    finally:
        pool.kill_all()


def describe_loss(error: Exception) -> str:
    """Say how an actor ended: of Ray's many lines the sentence that tells why, if one does."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith("The actor is dead because")]
    reason, *_ = [*reasons, *lines, type(error).__name__]
    return f"was lost ({reason.partition('. ')[0].removesuffix('.')})"


def no_worker_started_error(
    per_worker: dict[str, int], seconds: float, free: dict[str, float]
) -> HarnessError:
    """Return the error that says that the cluster starts no worker."""
    needed = ", ".join(f"{count} {name}" for name, count in per_worker.items() if count)
    available = ", ".join(f"{free.get(name, 0):g} {name}" for name in per_worker)
    return HarnessError(
        f"no worker has started in {seconds:.0f} seconds: each takes {needed}, and the cluster "
        f"has free: {available}; look at `ray status`, or ask for less with launcher.cpus_a_worker"
    )
