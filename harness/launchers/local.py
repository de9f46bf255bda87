"""This machine: worker processes for shards, and torchrun for a group that trains together."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from pydantic import Field

from harness.core import jobs
from harness.core.config import Component
from harness.core.hardware import visible_gpus
from harness.core.jobs import GroupJob, ShardedJob
from harness.core.processes import die_with_parent
from harness.errors import ConfigError, HarnessError
from harness.launchers import error_files
from harness.launchers.group_entry import GROUP_JOB_FILE, LOG
from harness.launchers.scheduler import (
    SHUTDOWN_SECONDS,
    ShardProgress,
    WorkerEvent,
    WorkerLost,
    WorkerReady,
    run_shards,
)
from harness.launchers.shard_entry import write_job
from harness.types import Advance

CHUNK_BYTES = 65536


class LocalLauncher(Component):
    """Runs shards in this process or in several workers, and groups with torchrun."""

    shard_size: int = Field(512, gt=0)
    """Prompts that a worker samples or compares, or pairs that it scores, at a time."""
    workers: int | None = Field(None, gt=0)
    """Processes that share one queue of shards, each with GPUs of its own; None: as many as there
    are GPUs for. A single worker is this process."""
    restarts: int = Field(3, ge=0)
    """How many workers may replace lost ones."""

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Run every missing shard.

        Raises:
            ConfigError: more workers are requested than there are GPUs for.
            HarnessError: raised by a worker; a shard ended two workers; all workers are lost.
        """
        workers = self._worker_count(job.gpus)
        if workers == 1 or not job.missing():
            run_in_process(job, advance)
            return
        with local_pool(job, worker_environments(workers, job.gpus)) as pool:
            run_shards(job, pool, workers, self.restarts, advance)

    def _worker_count(self, gpus: int) -> int:
        available = len(visible_gpus())
        if self.workers is None:
            return max(1, available // gpus)
        if available and self.workers * gpus > available:
            raise ConfigError(
                f"launcher.workers: {self.workers} with {gpus} GPUs each, and this machine has "
                f"{available}; leave it out, for as many as there are GPUs for"
            )
        return self.workers

    def processes(self) -> int:
        """Return the number of processes for a training: one per GPU of this machine, or one."""
        return max(1, len(visible_gpus()))

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Call the job's function in each of several processes of this machine.

        All of them end with this process, so that no training continues beside a resumed one.

        Raises:
            HarnessError: raised by a process, or one was killed.
        """
        error_files.clear(job.directory)
        jobs.write_call(job.directory / GROUP_JOB_FILE, job.run, job.payload)
        torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
        entry_point = ("-m", "harness.launchers.group_entry", str(job.directory))
        log_path = job.directory / LOG
        with log_path.open("wb") as log:
            completed = subprocess.run(
                [sys.executable, *torchrun, *entry_point],
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        if completed.returncode:
            raise error_files.read(job.directory) or lost_process_error(processes, log_path)


def run_in_process(job: ShardedJob, advance: Advance) -> None:
    """Run every missing shard in this process."""
    advance(job.finished_size())
    if missing := job.missing():
        with job.open(job.payload) as run:
            for shard in missing:
                jobs.run_shard(job, run, shard, advance)


def lost_process_error(processes: int, log_path: Path) -> HarnessError:
    """Return the error for a training process that ended without raising one."""
    killed = "SIGKILL" in log_path.read_text("utf-8", errors="replace")
    how = "was killed (SIGKILL), perhaps for memory," if killed else "ended"
    return HarnessError(
        f"one of the {processes} training processes {how} without an error: see {log_path}; run "
        "the same command again, it resumes from the last checkpoint"
    )


@dataclass
class LocalWorkerPool:
    """Worker processes that end with this one, connected by pipes."""

    directory: Path
    """Holds the job's file and the workers' logs."""
    environments: Sequence[dict[str, str]]
    """Environment variables by worker."""
    selector: selectors.BaseSelector
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    partial_lines: dict[int, bytes] = field(default_factory=dict)
    """The beginning of a line whose end has not arrived yet."""
    loaded: set[int] = field(default_factory=set)
    """Workers that have opened the job and must close it."""

    def start(self, worker: int) -> None:
        """Start a worker's process."""
        with open(self.log_path(worker), "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.launchers.shard_entry", str(self.directory)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environments[worker],
            )
        self.processes[worker], self.partial_lines[worker] = process, b""
        self.loaded.discard(worker)
        self.selector.register(cast("IO[bytes]", process.stdout), selectors.EVENT_READ, worker)

    def assign(self, worker: int, shard: int) -> None:
        """Send a shard's number; the end of a worker that has just died is the next event."""
        if process := self.processes.get(worker):
            with suppress(BrokenPipeError):
                cast("IO[bytes]", process.stdin).write(b"%d\n" % shard)

    def wait_for_events(self) -> list[WorkerEvent]:
        """Wait until a worker reports something or its pipe ends.

        Raises:
            HarnessError: raised by a worker.
        """
        events: list[WorkerEvent] = []
        for key, _ in self.selector.select():
            if chunk := os.read(key.fd, CHUNK_BYTES):
                events += self._parse(key.data, chunk)
            else:
                self.selector.unregister(key.fileobj)
                code = wait_or_kill(self.processes.pop(key.data))
                events.append(WorkerLost(key.data, describe_exit(code)))
        self.loaded |= {event.worker for event in events if isinstance(event, WorkerReady)}
        return events

    def _parse(self, worker: int, chunk: bytes) -> list[WorkerEvent]:
        *lines, rest = (self.partial_lines[worker] + chunk).split(b"\n")
        self.partial_lines[worker] = rest
        return [parse_event(worker, line) for line in lines]

    def log_path(self, worker: int) -> Path:
        """Return the file that holds what a worker prints."""
        return self.directory / f"worker-{worker}.log"

    def shut_down(self) -> None:
        """Have every worker close the job and end."""
        for process in self.processes.values():
            cast("IO[bytes]", process.stdin).close()
        for worker in self.loaded & set(self.processes):
            wait_or_kill(self.processes.pop(worker))

    def kill_all(self) -> None:
        """Kill the workers that are left."""
        while self.processes:
            _, process = self.processes.popitem()
            wait_or_kill(process, timeout=0)


@contextmanager
def local_pool(
    job: ShardedJob, environments: Sequence[dict[str, str]]
) -> Iterator[LocalWorkerPool]:
    """Yield a pool of worker processes; all of them end with the context."""
    directory = job.directory / "workers"
    write_job(job, directory)
    with selectors.DefaultSelector() as selector:
        pool = LocalWorkerPool(directory, environments, selector)
        try:
            yield pool
            pool.shut_down()
        finally:
            pool.kill_all()


def wait_or_kill(process: subprocess.Popen[bytes], timeout: float = SHUTDOWN_SECONDS) -> int:
    """Return the exit code of a process, which is killed after the timeout (seconds)."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
    with process:  # closes its pipes and waits
        return process.wait()


def describe_exit(code: int) -> str:
    """Say how a process ended."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def parse_event(worker: int, line: bytes) -> WorkerEvent:
    """Return the event that a worker reports.

    Raises:
        HarnessError: raised by the worker.
    """
    match json.loads(line):
        case {"advance": int(count)}:
            return ShardProgress(worker, count)
        case {"error": dict(data)}:
            raise error_files.from_data(data)
    return WorkerReady(worker)


def worker_environments(workers: int, gpus: int) -> list[dict[str, str]]:
    """Return each worker's environment variables: its `gpus` GPUs and its share of the cores."""
    import torch

    visible = visible_gpus()
    shared = os.environ | {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // workers))}
    gpu_groups = [
        ",".join(visible[start : start + gpus]) for start in range(0, workers * gpus, gpus)
    ]
    return [
        shared | ({"CUDA_VISIBLE_DEVICES": gpu_group} if visible else {})
        for gpu_group in gpu_groups
    ]
