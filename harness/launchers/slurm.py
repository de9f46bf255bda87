"""Slurm, through submitit: one job whose tasks form a Ray cluster, and the same run inside it.

The command on the login node submits the job and waits for it. If the command ends first, the job
continues, and the same command waits for it again; a job that reaches its time limit is requeued
and resumes from its finished stages and its last checkpoint.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.core import jobs
from harness.core.config import Component
from harness.core.io import write_atomically
from harness.core.jobs import GroupJob, ShardedJob
from harness.errors import ConfigError, HarnessError, MissingDependencyError
from harness.launchers import error_files
from harness.launchers.ray import RayLauncher
from harness.launchers.slurm_task import DONE_FILE, RUN_FILE, TOKEN_FILE, SlurmTask
from harness.types import Advance

JOB_ID_FILE = "job.json"
POLL_SECONDS = 5.0
"""Seconds between two looks at the queue."""


class SlurmLauncher(Component):
    """Runs a whole run in one Slurm job: a Ray node on each of its machines, the run on the first.

    Needs a workspace that the login node and every node of the job see under the same path.
    """

    nodes: int = Field(1, gt=0)
    gpus: int = Field(8, ge=0)
    """GPUs per node."""
    workers_per_node: int | None = Field(None, gt=0)
    """Worker processes per node; None: one per GPU, or one."""
    cores: int = Field(8, gt=0)
    """CPU cores per worker process."""
    memory: float | None = Field(None, gt=0)
    """GB per node; None: the partition's default."""
    hours: float = Field(24.0, gt=0)
    """The job's time limit; a job that reaches it is requeued."""
    requeues: int = Field(20, ge=0)
    """How often a job may be requeued after its time limit."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: tuple[str, ...] = ()
    """Lines of shell before the tasks start, e.g. `module load cuda`."""
    options: Mapping[str, str | int | bool] = {}
    """Further options of sbatch by name, e.g. `exclusive: true`."""
    shard_size: int = Field(512, gt=0)
    """Prompts that a worker samples or compares, or pairs that it scores, at a time."""
    restarts: int = Field(3, ge=0)
    """Replacements for lost workers; also how often a training resumes after losing a process."""
    start_timeout: float = Field(900.0, gt=0)
    """Seconds in which every node must have joined the cluster, and a first worker have started."""
    cluster: Literal["slurm", "local"] = "slurm"
    """local: a process of this machine instead of a job, to try a configuration."""

    def processes(self) -> int:
        """Return the number of processes for a training: every worker of the job."""
        return self.nodes * self.node_workers()

    def node_workers(self) -> int:
        """Return the number of worker processes per node."""
        return self.workers_per_node or max(1, self.gpus)

    def launch(
        self,
        run: Callable[[Mapping[str, Any]], None],
        payload: Mapping[str, Any],
        report: Callable[[str], None],
    ) -> None:
        """Run `run(payload)` in a job, or wait for the job of an earlier command.

        Args:
            run: importable by name.
            payload: plain data and components; `root` is the workspace, `name` the run.
            report: called with lines for the user.

        Raises:
            HarnessError: raised by the run, or the job ended before its run.
            MissingDependencyError: submitit, Ray or Slurm is missing.
        """
        directory = Path(payload["root"]) / "slurm" / str(payload["name"])
        job = running_job(directory) if self.cluster == "slurm" else None
        if job is None:
            prepare(directory, run, payload)
            job, has_ended = self._submit(directory)
        else:
            has_ended = end_check(job)
        report(f"Slurm job {job}: its logs are in {directory / job}")
        report("Ctrl-C leaves it running; the same command waits for it again")
        while not has_ended():
            time.sleep(POLL_SECONDS if self.cluster == "slurm" else 0.1)
        if DONE_FILE not in {path.name for path in directory.iterdir()}:
            raise error_files.read(directory) or HarnessError(
                f"Slurm job {job} ended before its run: cancelled, out of memory, or a lost node? "
                f"See {directory / job}; the same command resumes from the finished stages"
            )

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Run every missing shard on the job's Ray cluster; another worker retries a lost one's.

        Raises:
            ConfigError: this process is not inside such a job.
            HarnessError: see RayLauncher.
        """
        self._ray().map_shards(job, advance)

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Call the job's function in each of several processes of the cluster, as one group.

        Raises:
            ConfigError: this process is not inside such a job, or the cluster is too small.
            HarnessError: see RayLauncher.
        """
        self._ray().run_group(job, processes)

    def _ray(self) -> RayLauncher:
        address = os.environ.get("RAY_ADDRESS")
        if address is None:
            raise ConfigError(
                "the launcher slurm works inside the job that it submits: start the run with "
                "`harness train NAME --launcher slurm`"
            )
        return RayLauncher(
            shard_size=self.shard_size,
            address=address,
            workers=None,
            cpus_per_worker=self.cores,
            restarts=self.restarts,
            start_timeout=self.start_timeout,
        )

    def _submit(self, directory: Path) -> tuple[str, Callable[[], bool]]:
        """Submit the job; return its id and a check for its end."""
        executor = self.executor(directory)
        cpus = self.cores * self.node_workers()
        task = SlurmTask(str(directory), self.nodes, cpus, self.gpus, self.start_timeout)
        job = executor.submit(task)
        job_id = str(job.job_id)
        write_atomically(directory / JOB_ID_FILE, json.dumps({"job": job_id}))
        return job_id, end_check(job_id) if self.cluster == "slurm" else job.done

    def executor(self, directory: Path) -> Any:
        """Return submitit's executor with these settings.

        Raises:
            MissingDependencyError: submitit, Ray or Slurm is missing.
        """
        if find_spec("submitit") is None or find_spec("ray") is None:
            raise MissingDependencyError(
                "the launcher slurm needs submitit and Ray: "
                "pip install 'preference-harness[cluster]'"
            )
        import submitit

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
        """Return submitit's parameters of the job: one task per node, which starts its Ray."""
        settings: dict[str, Any] = {
            "name": f"harness-{directory.name}",
            "nodes": self.nodes,
            "tasks_per_node": 1,
            "cpus_per_task": self.cores * self.node_workers(),
            "timeout_min": max(1, round(60 * self.hours)),
            "slurm_setup": list(self.setup) or None,
            "slurm_additional_parameters": dict(self.options) or None,
            "gpus_per_node": self.gpus or None,
            "mem_gb": self.memory,
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "slurm_qos": self.qos,
            "slurm_constraint": self.constraint,
        }
        return {name: value for name, value in settings.items() if value is not None}


def prepare(
    directory: Path, run: Callable[[Mapping[str, Any]], None], payload: Mapping[str, Any]
) -> None:
    """Write what the job's tasks read: the run, and the token of their Ray cluster."""
    for name in (error_files.ERROR_FILE, DONE_FILE, TOKEN_FILE):
        (directory / name).unlink(missing_ok=True)
    jobs.write_call(directory / RUN_FILE, run, payload)
    descriptor = os.open(directory / TOKEN_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))


def running_job(directory: Path) -> str | None:
    """Return the queued or running job of an earlier command, if there is one."""
    try:
        job = str(json.loads((directory / JOB_ID_FILE).read_text(encoding="utf-8"))["job"])
    except (OSError, ValueError, KeyError):
        return None
    return None if end_check(job)() else job


def end_check(job: str) -> Callable[[], bool]:
    """Return a check whether a job has left the queue; an unreachable queue counts as no."""

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
