"""Workers on this machine: a process each, with GPUs and a share of the cores of its own."""

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

from harness.launchers import failures
from harness.launchers.dispatch import Event, Free, Lost, Told
from harness.launchers.worker import hand_over
from harness.work import Work

LEAVING_SECONDS = 10.0
CHUNK = 65536


@dataclass
class LocalCrew:
    """Processes that end with this one, spoken to over their pipes."""

    place: Path
    """Where the work is written for them, and their logs lie."""
    environments: Sequence[dict[str, str]]
    """Each worker's variables."""
    selector: selectors.BaseSelector
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    pending: dict[int, bytes] = field(default_factory=dict)
    """The beginning of a line whose end has not come yet."""
    ready: set[int] = field(default_factory=set)
    """Who holds something that must be put away."""

    def start(self, worker: int) -> None:
        """Start a worker's process."""
        with open(self.log(worker), "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.launchers.worker", str(self.place)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self.environments[worker],
            )
        self.processes[worker], self.pending[worker] = process, b""
        self.ready.discard(worker)
        self.selector.register(cast("IO[bytes]", process.stdout), selectors.EVENT_READ, worker)

    def give(self, worker: int, piece: int) -> None:
        """Name the piece; a worker that has just ended is noticed by who hears."""
        if process := self.processes.get(worker):
            with suppress(BrokenPipeError):
                cast("IO[bytes]", process.stdin).write(b"%d\n" % piece)

    def hear(self) -> list[Event]:
        """Wait until a worker says something, or its pipe ends.

        Raises:
            HarnessError: what a worker raised.
        """
        found: list[Event] = []
        for key, _ in self.selector.select():
            worker = key.data
            if read := os.read(key.fd, CHUNK):
                *lines, self.pending[worker] = (self.pending[worker] + read).split(b"\n")
                found += [event(worker, line) for line in lines]
            else:
                self.selector.unregister(key.fileobj)
                found.append(Lost(worker, how(ended(self.processes.pop(worker)))))
        self.ready |= {told.worker for told in found if isinstance(told, Free)}
        return found

    def log(self, worker: int) -> Path:
        """Return where everything goes that a worker prints."""
        return self.place / f"worker-{worker}.log"

    def dismiss(self) -> None:
        """Have every worker put away what it holds, and end."""
        for process in self.processes.values():
            cast("IO[bytes]", process.stdin).close()
        for worker in self.ready & set(self.processes):
            ended(self.processes.pop(worker))

    def end(self) -> None:
        """End whoever is left, at once."""
        while self.processes:
            _, process = self.processes.popitem()
            ended(process, patience=0)


@contextmanager
def crew(work: Work, environments: Sequence[dict[str, str]]) -> Iterator[LocalCrew]:
    """Yield a crew for the work, of whom nobody outlives the block."""
    place = work.place / "workers"
    hand_over(work, place)
    with selectors.DefaultSelector() as selector:
        found = LocalCrew(place, environments, selector)
        try:
            yield found
            found.dismiss()
        finally:
            found.end()


def ended(process: subprocess.Popen[bytes], patience: float = LEAVING_SECONDS) -> int:
    """Return the exit code of a process, which is killed if it takes longer than its patience."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
    with process:  # closes its pipes and waits
        return process.wait()


def how(code: int) -> str:
    """Say how a process ended."""
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def event(worker: int, line: bytes) -> Event:
    """Return what a worker said.

    Raises:
        HarnessError: it said what it raised.
    """
    match json.loads(line):
        case {"advance": int(count)}:
            return Told(worker, count)
        case {"error": dict(told)}:
            raise failures.made(told)
    return Free(worker)


def environments(workers: int, gpus: int) -> list[dict[str, str]]:
    """Return the variables of so many workers: so many GPUs each, and their share of the cores."""
    import torch

    here = devices()
    shared = os.environ | {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // workers))}
    parts = [",".join(here[start : start + gpus]) for start in range(0, workers * gpus, gpus)]
    return [shared | ({"CUDA_VISIBLE_DEVICES": part} if here else {}) for part in parts]


def devices() -> list[str]:
    """Return what CUDA calls the GPUs that this process may use."""
    import torch

    return named(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())


def named(told: str | None, count: int) -> list[str]:
    """Return what CUDA calls so many GPUs, some of which may have been told by name."""
    return (told.split(",") if told else [str(number) for number in range(count)])[:count]
