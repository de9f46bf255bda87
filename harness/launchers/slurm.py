"""Slurm, through submitit: one job whose tasks are started together, as torchrun's processes are.

The command on the login node submits it and waits. Where that ends the job goes on, and the same
command waits for it again; a job whose time is up is queued again and goes on from what stands.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness import work
from harness.config import Component
from harness.errors import HarnessError, MissingDependencyError
from harness.files import write_whole
from harness.launchers import failures, gang, leading
from harness.types import Advance
from harness.work import Task, Work

RUN, JOB, DONE = "run.json", "job.json", "done"
LOOK = 5.0
"""Seconds between two looks at the queue."""


class SlurmLauncher(Component):
    """Has one job's tasks sample, compare, score and train."""

    nodes: int = Field(1, gt=0)
    gpus: int = Field(8, ge=0)
    """GPUs of each node."""
    tasks: int | None = Field(None, gt=0)
    """Processes on each node; None: one a GPU."""
    cores: int = Field(8, gt=0)
    """Processor cores of each process."""
    memory: float | None = Field(None, gt=0)
    """GB of each node; None: what the partition gives."""
    hours: float = Field(24.0, gt=0)
    """The job's time; when it is up the job is queued again."""
    requeues: int = Field(20, ge=0)
    """How often that may be."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: tuple[str, ...] = ()
    """Lines of shell before the tasks start, e.g. `module load cuda`."""
    options: Mapping[str, str | int | bool] = {}
    """Other options of sbatch by name, e.g. `exclusive: true`."""
    piece: int = Field(512, gt=0)
    """How many prompts a process samples or compares, or pairs it scores, at a time."""
    patience: float = Field(60.0, gt=0)
    """Seconds without a sign of life after which a process counts as lost."""
    cluster: Literal["slurm", "local"] = "slurm"
    """local: processes of this machine instead of a job, to try a configuration."""

    @property
    def leads(self) -> bool:
        """Whether this process tells the user how the run goes: the login node's does."""
        return True

    def processes(self) -> int:
        """Return how many processes there are for a training."""
        return self.nodes * self.here()

    def here(self) -> int:
        """Return the processes of each node."""
        return self.tasks or max(1, self.gpus)

    def conduct(self, run: gang.Run, told: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Have a job's first task run, and the others serve it; wait for the end.

        Raises:
            HarnessError: what the run raised, or the job ended before its run.
            MissingDependencyError: submitit or Slurm is not here.
        """
        place = Path(told["root"]) / "slurm" / str(told["name"])
        job = under_way(place) if self.cluster == "slurm" else None
        if job is None:
            for name in (failures.FAILURE, DONE):
                (place / name).unlink(missing_ok=True)
            work.write(place / RUN, run, told)
            job, ended = self._submit(place)
        else:
            ended = job_ended(job)
        say(f"Slurm job {job}: its logs are in {place / job}")
        say("Ctrl-C leaves it running; the same command waits for it again")
        while not ended():
            time.sleep(LOOK)
        names = {path.name for path in place.iterdir()}
        if DONE not in names:
            raise failures.left(place) or HarnessError(
                f"Slurm job {job} ended before its run: cancelled, out of memory, or its node was "
                f"lost? See {place / job}; the same command goes on from what stands"
            )

    def spread(self, work: Work, advance: Advance) -> None:
        """Have every piece done that does not stand; a lost process's piece goes to another."""
        leading.spread(work, advance, self.patience)

    def together(self, task: Task, processes: int) -> None:
        """Have so many processes call the task's function, in one group of torch's."""
        leading.together(task, processes, self.patience)

    def _submit(self, place: Path) -> tuple[str, Callable[[], bool]]:
        """Submit the job; return its id, and what says whether it has ended."""
        executor = self.executor(place)
        job = executor.submit(Part(str(place), self.patience))
        told = str(job.job_id)
        write_whole(place / JOB, json.dumps({"job": told}))
        return told, job_ended(told) if self.cluster == "slurm" else job.done

    def executor(self, place: Path) -> Any:
        """Return submitit's executor with these settings.

        Raises:
            MissingDependencyError: submitit or Slurm is not here.
        """
        try:
            import submitit
        except ImportError as error:
            raise MissingDependencyError(
                "the launcher slurm needs submitit: pip install 'preference-harness[cluster]'"
            ) from error
        try:
            made = submitit.AutoExecutor(
                folder=place / "%j", cluster=self.cluster, slurm_max_num_timeout=self.requeues
            )
        except RuntimeError as error:
            raise MissingDependencyError(
                "there is no Slurm here (no srun): run the command on a login node"
            ) from error
        made.update_parameters(**self.parameters(place))
        return made

    def parameters(self, place: Path) -> dict[str, Any]:
        """Return what submitit is told of the job."""
        told: dict[str, Any] = {
            "name": f"harness-{place.name}",
            "nodes": self.nodes,
            "tasks_per_node": self.here(),
            "cpus_per_task": self.cores,
            "timeout_min": max(1, round(60 * self.hours)),
            "slurm_setup": list(self.setup) or None,
            "slurm_additional_parameters": dict(self.options) or None,
            "gpus_per_node": self.gpus or None,
            "mem_gb": self.memory,
        }
        for name in ("partition", "account", "qos", "constraint"):
            told[f"slurm_{name}"] = getattr(self, name)
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True)
class Part:
    """What each of the job's tasks does; again from the start where the job is queued again."""

    place: str
    patience: float

    def __call__(self) -> None:
        """Take part in the run that lies in the folder."""
        from submitit.helpers import TorchDistributedEnvironment

        os.environ.pop(gang.HOSTED, None)
        here = TorchDistributedEnvironment()
        here.export(set_cuda_visible_devices=False, overwrite=True)
        place = Path(self.place)
        run, told = work.read(place / RUN)
        try:
            gang.conduct(run, told, self.patience)
        except HarnessError as error:
            if here.rank == 0:
                failures.leave(place, error)
            raise
        if here.rank == 0:
            write_whole(place / DONE, "")

    def checkpoint(self) -> Any:
        """Return what the job does when it is queued again: the same, from what stands."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def under_way(place: Path) -> str | None:
    """Return the job of an earlier command that waits or runs, if there is one."""
    try:
        job = str(json.loads((place / JOB).read_text(encoding="utf-8"))["job"])
    except (OSError, ValueError, KeyError):
        return None
    return None if job_ended(job)() else job


def job_ended(job: str) -> Callable[[], bool]:
    """Return what says whether a job has left the queue; a queue that is silent says no."""

    def ended() -> bool:
        asked = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
        try:
            told = subprocess.run(asked, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise MissingDependencyError(
                "there is no Slurm here (no squeue): run the command on a login node"
            ) from error
        unknown = "Invalid job id" in told.stderr
        return unknown or (told.returncode == 0 and not told.stdout.strip())

    return ended
