"""This machine."""

from __future__ import annotations

import subprocess
import sys

from pydantic import Field

from harness import work
from harness.config import Component
from harness.errors import HarnessError
from harness.isolation import end_with_parent
from harness.launchers import failures
from harness.launchers.member import TASK
from harness.types import Advance
from harness.work import Task, Work


class LocalLauncher(Component):
    """Does pieces in this process, and what is done together in processes that torchrun starts."""

    piece: int = Field(512, gt=0)
    """How many prompts are sampled or compared at a time."""

    def spread(self, work: Work, advance: Advance) -> None:
        """Do every piece that does not stand, here."""
        spread(work, advance)

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
        done = subprocess.run(
            [sys.executable, *torchrun, *member],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
        )
        if done.returncode:
            raise failures.left(task.place) or lost(processes)


def spread(work_: Work, advance: Advance) -> None:
    """Do every piece that does not stand, in this process."""
    missing = work_.missing()
    advance(sum(work_.sizes) - sum(work_.sizes[piece] for piece in missing))
    if missing:
        with work_.open(work_.told) as do:
            for piece in missing:
                work.finish(work_, do, piece, advance)


def lost(processes: int) -> HarnessError:
    """Return the error that says that a process ended without a word."""
    return HarnessError(
        f"one of the {processes} training processes ended without a word: out of memory, or "
        "killed? Run the same command again; it goes on from the last checkpoint"
    )
