"""How the process that runs the schedule has a gang do tasks, and waits for them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from harness.core import jobs
from harness.core.jobs import GroupJob, ShardedJob
from harness.errors import ConfigError, HarnessError
from harness.launchers import error_files, taking
from harness.launchers.gang import Place, met
from harness.launchers.group_entry import GROUP_JOB_FILE
from harness.launchers.pulse import BEAT, Pulse
from harness.launchers.serving import Errand, Report, host, report, stopped, task
from harness.types import Advance

GRACE = 3.0
"""Seconds that the others have to tell their errors: the first to end is not always the cause."""
AGAIN = "start the same command again on every machine; it goes on from what stands"


@dataclass(frozen=True)
class Ended:
    """Whose part of a task has ended, and how."""

    reports: Mapping[int, Report]
    lost: tuple[int, ...]
    """Who gives no sign of life."""


@dataclass(frozen=True)
class Gang:
    """The processes that were started together, as whoever runs the schedule sees them."""

    heard: Pulse
    size: int
    number: Callable[[], int]
    """Counts the tasks."""

    def post(self, number: int, errand: Errand) -> None:
        """Have a task done."""
        self.heard.tell(task(number), json.dumps(asdict(errand)))

    def settled(
        self, number: int, processes: int, over: Callable[[Ended], bool], advance: Advance
    ) -> Ended:
        """Wait until every part of a task has ended, or it is `over` and can only fail."""
        deadline, told = float("inf"), 0
        while True:
            ended = self._ended(number, processes)
            done = self.heard.count(taking.done(number))
            advance(done - told)
            told = done
            if len(ended.reports) + len(ended.lost) == processes or time.monotonic() > deadline:
                self.heard.tell(stopped(number), "1")
                return ended
            if over(ended):
                deadline = min(deadline, time.monotonic() + GRACE)
            time.sleep(BEAT / 2)

    def failure(self, ended: Ended) -> HarnessError | None:
        """Return the error of a task: one that tells its cause before one that does not."""
        failed = {rank: found for rank, found in ended.reports.items() if found.code}
        for found in failed.values():
            if found.error:
                return error_files.from_data(found.error)
        for rank in ended.lost:
            return HarnessError(f"{self._name(rank)} gives no sign of life: {AGAIN}")
        for rank, found in sorted(failed.items(), key=lambda item: item[1].code):
            return HarnessError(f"{self._name(rank)} {how(found)}; {AGAIN}")
        return None

    def _ended(self, number: int, processes: int) -> Ended:
        told = {rank: self.heard.heard(report(number, rank)) for rank in range(processes)}
        reports = {rank: Report(**json.loads(text)) for rank, text in told.items() if text}
        silent = (rank for rank in self.heard.lost() if rank < processes)
        return Ended(reports, tuple(rank for rank in silent if rank not in reports))

    def _name(self, rank: int) -> str:
        where = self.heard.heard(host(rank))
        return f"process {rank + 1} of {self.size}{f' on {where}' if where else ''}"


def how(ended: Report) -> str:
    """Say how a process ended that told no error."""
    if ended.code < 0:
        return f"was killed by {signal.Signals(-ended.code).name}: out of memory?"
    return f"ended with exit code {ended.code}{f' ({ended.last})' if ended.last else ''}"


@contextmanager
def gang(patience: float) -> Iterator[Gang]:
    """Yield the gang whose first process this is, or was started by.

    Raises:
        ConfigError: there is none.
    """
    size, store = Place.here().size, met()
    heard = Pulse(store, None, range(size), patience)
    for rank in range(size):
        heard.heard(host(rank))
    heard.start()
    try:
        yield Gang(heard, size, lambda: int(store.add("tasks", 1)) - 1)
    finally:
        heard.close()


def together(told: GroupJob, processes: int, patience: float) -> None:
    """Have so many processes call the task's function.

    Raises:
        ConfigError: there are not so many.
        HarnessError: what a process raised; or one was killed or lost.
    """
    with gang(patience) as found:
        if processes > found.size:
            raise ConfigError(
                f"{processes} processes are to train and {found.size} were started: leave "
                "optimiser.processes out, or start more"
            )
        error_files.clear(told.directory)
        jobs.write_call(told.directory / GROUP_JOB_FILE, told.run, told.payload)
        number = found.number()
        found.post(number, Errand("harness.launchers.group_entry", str(told.directory), processes))
        ended = found.settled(number, processes, failing, lambda _: None)
        if error := found.failure(ended):
            raise error


def failing(ended: Ended) -> bool:
    """Say whether a task that needs all of its processes can only fail."""
    return bool(ended.lost) or any(found.code for found in ended.reports.values())


def spread(told: ShardedJob, advance: Advance, patience: float) -> None:
    """Have every piece done that does not stand; what a lost process had begun, another does.

    Raises:
        HarnessError: what doing a piece raised; or nobody does any.
    """
    missing = told.missing()
    advance(sum(told.sizes) - sum(told.sizes[piece] for piece in missing))
    if not missing:
        return
    with gang(patience) as found:
        while missing:
            error_files.clear(told.directory)
            number = found.number()
            taking.write(told.directory, number, told, missing)
            place, module = str(told.directory), "harness.launchers.taking"
            found.post(number, Errand(module, place, found.size, told.gpus))
            ended = found.settled(number, found.size, telling, advance)
            error = found.failure(ended)
            before, missing = missing, told.missing()
            if error and telling(ended):
                raise error
            if error and missing == before:
                raise HarnessError(f"{error} ({told.name(missing[0])} was not finished)")
            if missing == before:
                raise ConfigError(
                    f"a piece of this work needs {told.gpus} GPUs a process and no machine has so "
                    "many processes: raise --nproc-per-node, or lower the engine's GPUs"
                )


def telling(ended: Ended) -> bool:
    """Say whether a process has told an error: another one would meet it too."""
    return any(found.error for found in ended.reports.values())
