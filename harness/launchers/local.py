"""This machine: one worker a GPU, or as many as asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pydantic import Field

from harness import work
from harness.config import Component
from harness.errors import ConfigError, HarnessError
from harness.isolation import end_with_parent
from harness.launchers import failures
from harness.launchers.crew import crew, devices, environments
from harness.launchers.dispatch import dispatch
from harness.launchers.member import TASK
from harness.types import Advance
from harness.work import Task, Work


class LocalLauncher(Component):
    """Does pieces in this process or by several workers, and together what torchrun starts."""

    piece: int = Field(512, gt=0)
    """How many prompts are sampled or compared, or pairs scored, at a time."""
    workers: int | None = Field(None, gt=0)
    """Processes that take pieces from one queue, each with GPUs of its own; None: as many as there
    are GPUs for. One does its work in this process."""
    restarts: int = Field(3, ge=0)
    """How many workers may be started in place of lost ones."""

    def spread(self, work: Work, advance: Advance) -> None:
        """Do every piece that does not stand.

        Raises:
            ConfigError: more workers are asked for than there are GPUs for.
            HarnessError: what a worker raised; a piece ended its worker twice; all are lost.
        """
        workers = self._workers(work.gpus)
        if workers == 1 or not work.missing():
            spread(work, advance)
            return
        with crew(work, environments(workers, work.gpus)) as hands:
            dispatch(work, hands, workers, self.restarts, advance)

    def _workers(self, gpus: int) -> int:
        here = len(devices())
        if self.workers is None:
            return max(1, here // gpus)
        if here and self.workers * gpus > here:
            raise ConfigError(
                f"launcher.workers: {self.workers} with {gpus} GPUs each, and this machine has "
                f"{here}; leave it out, for as many as there are GPUs for"
            )
        return self.workers

    def processes(self) -> int:
        """Return one a GPU of this machine, for a training; one where there is none."""
        return max(1, len(devices()))

    def together(self, task: Task, processes: int) -> None:
        """Have so many processes of this machine call the task's function.

        All of them end with this process, so that a run that is begun again trains alone.

        Raises:
            HarnessError: what a process raised; or one was killed.
        """
        failures.forget(task.place)
        work.write(task.place / TASK, task.do, task.told)
        torchrun = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
        member = ("-m", "harness.launchers.member", str(task.place))
        written = task.place / "processes.log"
        with written.open("wb") as log:
            done = subprocess.run(
                [sys.executable, *torchrun, *member],
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=end_with_parent,
            )
        if done.returncode:
            raise failures.left(task.place) or lost(processes, written)


def spread(work_: Work, advance: Advance) -> None:
    """Do every piece that does not stand, in this process."""
    missing = work_.missing()
    advance(sum(work_.sizes) - sum(work_.sizes[piece] for piece in missing))
    if missing:
        with work_.open(work_.told) as do:
            for piece in missing:
                work.finish(work_, do, piece, advance)


def lost(processes: int, written: Path) -> HarnessError:
    """Return the error that says that a process ended without a word, and where its last are."""
    return HarnessError(
        f"one of the {processes} training processes ended without a word: out of memory, or "
        f"killed? See {written}; run the same command again, it goes on from the last checkpoint"
    )
