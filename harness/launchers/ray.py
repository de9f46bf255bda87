"""A Ray cluster: actors run shards, and Ray Train's process group runs a training."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from harness.core import jobs
from harness.core.config import Component
from harness.core.hardware import group_backend
from harness.core.jobs import GroupJob, ShardedJob
from harness.errors import ConfigError, HarnessError, MissingDependencyError, first_line
from harness.launchers import error_files
from harness.launchers.group_entry import GROUP_JOB_FILE
from harness.launchers.ray_workers import ray_pool, require_visible
from harness.launchers.scheduler import run_shards
from harness.types import Advance

QUIET_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # skips every line that the nodes print
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray's variables: it sends no usage statistics, and prints nothing on the user's terminal."""
START_TIMEOUT_VARIABLE = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


class RayLauncher(Component):
    """Runs shards and trainings on a cluster whose nodes see the workspace under the same path.

    What is neither sharded nor run by a group (a training of one process, the creation of a start
    policy) runs in the process of the command.
    """

    shard_size: int = Field(512, gt=0)
    """Prompts that a worker samples or compares, or pairs that it scores, at a time."""
    address: str | None = None
    """HOST:PORT, `auto` or ray://HOST:PORT of a cluster; None: the cluster that this machine
    belongs to, or else a new one on this machine, which ends with the command; `local`: a new
    one."""
    workers: int | None = Field(None, gt=0)
    """Actors that share one queue of shards; None: as many as the cluster has GPUs for, or CPUs
    where it has no GPUs."""
    cpus_per_worker: int = Field(1, gt=0)
    """CPUs of each actor, and of each process of a training."""
    restarts: int = Field(3, ge=0)
    """How many actors may replace lost ones; also how often a training that lost a process resumes
    from its last checkpoint."""
    start_timeout: float = Field(900.0, gt=0)
    """Seconds in which a first worker must have started."""

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Run every missing shard, on whichever node has room.

        Raises:
            MissingDependencyError: Ray is not installed.
            StoreError: a node does not see the workspace.
            HarnessError: there is no such cluster, or it has no room; raised by a worker; a shard
                ended two workers; all workers are lost.
        """
        if not job.missing():
            advance(job.finished_size())
            return
        ray = connect(self.address)
        cluster = ray.cluster_resources()
        per_worker = self.worker_resources(cluster, job.gpus)
        workers = self.workers or capacity(cluster, per_worker)
        with ray_pool(ray, job, per_worker, self.start_timeout) as pool:
            run_shards(job, pool, workers, self.restarts, advance)

    def processes(self) -> int:
        """Return the number of processes for a training: one per GPU of the cluster, or one.

        Raises:
            MissingDependencyError: Ray is not installed.
            HarnessError: there is no such cluster, or it has no room.
        """
        return self.training_processes(connect(self.address).cluster_resources())

    def training_processes(self, cluster: Mapping[str, float]) -> int:
        """Return the number of processes for a training on a cluster with these resources."""
        per_worker = self.worker_resources(cluster, gpus=1)
        return capacity(cluster, per_worker) if per_worker["GPU"] else 1

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Call the job's function in each of several processes of the cluster, as one group.

        Raises:
            MissingDependencyError: Ray is not installed.
            ConfigError: the cluster has no room for that many.
            HarnessError: raised by a process, or processes were lost too often.
        """
        cluster = connect(self.address).cluster_resources()
        per_worker = self.worker_resources(cluster, gpus=1)
        if (available := capacity(cluster, per_worker)) < processes:
            raise ConfigError(
                f"optimiser.processes: {processes}, and the cluster has room for {available}; "
                "lower it, or start the cluster's other nodes first"
            )
        jobs.write_call(job.directory / GROUP_JOB_FILE, job.run, job.payload)
        for _ in range(self.restarts + 1):
            error_files.clear(job.directory)
            if train_group(job.directory, processes, per_worker, self.start_timeout):
                return
            if error := error_files.read(job.directory):
                raise error
        raise HarnessError(
            f"the training lost processes {self.restarts + 1} times: out of memory? Look at "
            "`ray status`, and run the same command again; it resumes from the last checkpoint"
        )

    def worker_resources(self, cluster: Mapping[str, float], gpus: int) -> dict[str, int]:
        """Return a worker's share of a cluster with these resources."""
        return {"CPU": self.cpus_per_worker, "GPU": gpus if cluster.get("GPU") else 0}


def connect(address: str | None) -> Any:
    """Return Ray, connected to a cluster until this process ends.

    Raises:
        MissingDependencyError: Ray is not installed.
        HarnessError: there is no cluster at the address.
    """
    os.environ.update(QUIET_VARIABLES)
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "Ray is not installed; install it with pip install 'preference-harness[cluster]'"
        ) from error
    if not ray.is_initialized():
        try:
            with warnings.catch_warnings(action="ignore"):  # the error below says what is wrong
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise HarnessError(
                f"no Ray cluster answers at {address!r} ({first_line(error)}): start one with "
                "`ray start --head`; for a cluster that requires a token (`ray start` enables it), "
                "set RAY_AUTH_MODE=token; without launcher.address this machine is used"
            ) from error
    return ray


def capacity(cluster: Mapping[str, float], per_worker: Mapping[str, int]) -> int:
    """Return how many workers fit in a cluster with these resources.

    Raises:
        ConfigError: none does.
    """
    capacities = {
        key: int(cluster.get(key, 0)) // count for key, count in per_worker.items() if count
    }
    key = min(capacities, key=lambda name: capacities[name])
    if not capacities[key]:
        raise ConfigError(
            f"a worker takes {per_worker[key]} {key}s, and the whole cluster has "
            f"{int(cluster.get(key, 0))}; lower launcher.cpus_per_worker or the engine's GPUs"
        )
    return capacities[key]


def train_group(
    directory: Path, processes: int, per_worker: dict[str, int], start_timeout: float
) -> bool:
    """Call the function of the job in a directory in each process; say whether all returned.

    Raises:
        HarnessError: the processes had not started before the timeout.
    """
    os.environ[START_TIMEOUT_VARIABLE] = str(start_timeout)
    with warnings.catch_warnings():  # Ray warns about its own settings
        warnings.simplefilter("ignore")
        from ray import train as ray_train
        from ray.train.torch import TorchConfig, TorchTrainer

        trainer = TorchTrainer(
            run_process,
            train_loop_config={"directory": str(directory), "working_directory": os.getcwd()},
            torch_config=TorchConfig(backend=group_backend(bool(per_worker["GPU"]))),
            scaling_config=ray_train.ScalingConfig(
                num_workers=processes,
                use_gpu=bool(per_worker["GPU"]),
                resources_per_worker=per_worker,
            ),
            run_config=ray_train.RunConfig(
                name="ray",
                storage_path=str(directory),
                failure_config=ray_train.FailureConfig(controller_failure_limit=0),
            ),
        )
        try:
            trainer.fit()
        except ray_train.ControllerError as error:
            raise HarnessError(
                f"Ray could not start {processes} processes together: {last_line(error)}"
            ) from error
        except ray_train.TrainingFailedError:
            return False
    return True


def last_line(error: Exception) -> str:
    """Return the last line of an error's message, which holds the cause in Ray's."""
    return str(error).strip().splitlines()[-1]


def run_process(config: dict[str, Any]) -> None:
    """Call the job's function as one process of Ray Train's group."""
    import torch

    directory = Path(config["directory"])
    try:
        require_visible(directory, GROUP_JOB_FILE)
        if torch.cuda.is_available():  # Ray has selected the device
            os.environ["LOCAL_RANK"] = str(torch.cuda.current_device())
        with suppress(OSError):
            os.chdir(config["working_directory"])
        run, payload = jobs.read_call(directory / GROUP_JOB_FILE)
        run(payload)
    except HarnessError as error:
        error_files.write(directory, error)
        raise
    except Exception as error:
        error_files.write_unexpected(directory, error, "the log of Ray's worker")
        raise
