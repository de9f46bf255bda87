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

from harness.core import jobs
from harness.core.config import Component
from harness.core.io import write_atomically
from harness.core.jobs import GroupJob, ShardedJob
from harness.errors import HarnessError, MissingDependencyError
from harness.launchers import error_files, gang, leading
from harness.types import Advance

RUN_FILE, JOB_ID_FILE, DONE_FILE = "run.json", "job.json", "done"
POLL_SECONDS = 5.0
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
    shard_size: int = Field(512, gt=0)
    """How many prompts a process samples or compares, or pairs it scores, at a time."""
    patience: float = Field(60.0, gt=0)
    """Seconds without a sign of life after which a process counts as lost."""
    cluster: Literal["slurm", "local"] = "slurm"
    """local: processes of this machine instead of a job, to try a configuration."""

    @property
    def is_leader(self) -> bool:
        """Whether this process tells the user how the run goes: the login node's does."""
        return True

    def processes(self) -> int:
        """Return how many processes there are for a training."""
        return self.nodes * self.processes_per_node()

    def processes_per_node(self) -> int:
        """Return the processes of each node."""
        return self.tasks or max(1, self.gpus)

    def launch(
        self, run: gang.Run, payload: Mapping[str, Any], report: Callable[[str], None]
    ) -> None:
        """Have a job's first task run, and the others serve it; wait for the end.

        Raises:
            HarnessError: what the run raised, or the job ended before its run.
            MissingDependencyError: submitit or Slurm is not here.
        """
        directory = Path(payload["root"]) / "slurm" / str(payload["name"])
        job = running_job(directory) if self.cluster == "slurm" else None
        if job is None:
            for name in (error_files.FAILURE, DONE_FILE):
                (directory / name).unlink(missing_ok=True)
            jobs.write_call(directory / RUN_FILE, run, payload)
            job, has_ended = self._submit(directory)
        else:
            has_ended = end_check(job)
        report(f"Slurm job {job}: its logs are in {directory / job}")
        report("Ctrl-C leaves it running; the same command waits for it again")
        while not has_ended():
            time.sleep(POLL_SECONDS)
        names = {path.name for path in directory.iterdir()}
        if DONE_FILE not in names:
            raise error_files.read(directory) or HarnessError(
                f"Slurm job {job} ended before its run: cancelled, out of memory, or its node was "
                f"lost? See {directory / job}; the same command goes on from what stands"
            )

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Have every piece done that does not stand; a lost process's piece goes to another."""
        leading.spread(job, advance, self.patience)

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Have so many processes call the task's function, in one group of torch's."""
        leading.together(job, processes, self.patience)

    def _submit(self, directory: Path) -> tuple[str, Callable[[], bool]]:
        """Submit the job; return its id, and what says whether it has ended."""
        executor = self.executor(directory)
        job = executor.submit(SlurmTask(str(directory), self.patience))
        job_id = str(job.job_id)
        write_atomically(directory / JOB_ID_FILE, json.dumps({"job": job_id}))
        return job_id, end_check(job_id) if self.cluster == "slurm" else job.done

    def executor(self, directory: Path) -> Any:
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
            executor = submitit.AutoExecutor(
                folder=directory / "%j", cluster=self.cluster, slurm_max_num_timeout=self.requeues
            )
        except RuntimeError as error:
            raise MissingDependencyError(
                "there is no Slurm here (no srun): run the command on a login node"
            ) from error
        executor.update_parameters(**self.parameters(directory))
        return executor

    def parameters(self, directory: Path) -> dict[str, Any]:
        """Return what submitit is told of the job."""
        settings: dict[str, Any] = {
            "name": f"harness-{directory.name}",
            "nodes": self.nodes,
            "tasks_per_node": self.processes_per_node(),
            "cpus_per_task": self.cores,
            "timeout_min": max(1, round(60 * self.hours)),
            "slurm_setup": list(self.setup) or None,
            "slurm_additional_parameters": dict(self.options) or None,
            "gpus_per_node": self.gpus or None,
            "mem_gb": self.memory,
        }
        for name in ("partition", "account", "qos", "constraint"):
            settings[f"slurm_{name}"] = getattr(self, name)
        return {name: value for name, value in settings.items() if value is not None}


@dataclass(frozen=True)
class SlurmTask:
    """What each of the job's tasks does; again from the start where the job is queued again."""

    directory: str
    patience: float

    def __call__(self) -> None:
        """Take part in the run that lies in the folder."""
        from submitit.helpers import TorchDistributedEnvironment

        os.environ.pop(gang.HOSTED, None)
        environment = TorchDistributedEnvironment()
        environment.export(set_cuda_visible_devices=False, overwrite=True)
        directory = Path(self.directory)
        run, payload = jobs.read_call(directory / RUN_FILE)
        try:
            gang.conduct(run, payload, self.patience)
        except HarnessError as error:
            if environment.rank == 0:
                error_files.write(directory, error)
            raise
        if environment.rank == 0:
            write_atomically(directory / DONE_FILE, "")

    def checkpoint(self) -> Any:
        """Return what the job does when it is queued again: the same, from what stands."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def running_job(directory: Path) -> str | None:
    """Return the job of an earlier command that waits or runs, if there is one."""
    try:
        job = str(json.loads((directory / JOB_ID_FILE).read_text(encoding="utf-8"))["job"])
    except (OSError, ValueError, KeyError):
        return None
    return None if end_check(job)() else job


def end_check(job: str) -> Callable[[], bool]:
    """Return what says whether a job has left the queue; a queue that is silent says no."""

    def has_ended() -> bool:
        command = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
        try:
            completed = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise MissingDependencyError(
                "there is no Slurm here (no squeue): run the command on a login node"
            ) from error
        unknown = "Invalid job id" in completed.stderr
        return unknown or (completed.returncode == 0 and not completed.stdout.strip())

    return has_ended
