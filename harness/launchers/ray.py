"""A Ray cluster: pieces by actors on its GPUs, training in a process group of Ray Train's.

Training on a Ray cluster: the same function, called in the process group of Ray Train.
"""

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
from harness.core.jobs import GroupJob, ShardedJob
from harness.errors import ConfigError, HarnessError, MissingDependencyError, first_line
from harness.launchers import error_files
from harness.launchers.group_entry import BACKENDS, GROUP_JOB_FILE
from harness.launchers.ray_workers import ray_pool, require_visible
from harness.launchers.scheduler import dispatch
from harness.types import Advance

QUIET_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # of what comes from the nodes every line is left out
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray's variables: no statistics are sent, and nothing is written between what the user reads."""


class RayLauncher(Component):
    """Spreads work over a Ray cluster whose nodes all see the workspace under the same path.

    What is neither spread nor done together (a training of one process, a start policy's making) is
    done where the command is typed.
    """

    shard_size: int = Field(512, gt=0)
    """How many prompts are sampled or compared, or pairs scored, at a time."""
    address: str | None = None
    """The cluster's: HOST:PORT, `auto`, ray://HOST:PORT; None: the one this machine belongs to, or
    else a new one of this machine alone, which ends with the command; `local`: a new one."""
    workers: int | None = Field(None, gt=0)
    """Actors that take pieces from one queue; None: as many as the cluster has GPUs for, or without
    GPUs processors."""
    cpus_per_worker: int = Field(1, gt=0)
    """Processors that each actor, and each process of a training, takes."""
    restarts: int = Field(3, ge=0)
    """How many actors may be started in place of lost ones; and how often a training that lost a
    process goes on from its last checkpoint."""
    start_timeout: float = Field(900.0, gt=0)
    """Seconds that the cluster may take until a first worker has started."""

    def map_shards(self, job: ShardedJob, advance: Advance) -> None:
        """Do every piece that does not stand, on whichever node has room.

        Raises:
            MissingDependencyError: Ray is not installed.
            StoreError: a node does not see the workspace.
            HarnessError: there is no such cluster, or it has no room; what a worker raised; a piece
                ended its worker twice; all workers are lost.
        """
        if not job.missing():
            advance(sum(job.sizes))
            return
        ray = connect(self.address)
        cluster = ray.cluster_resources()
        per_worker = self.worker_resources(cluster, job.gpus)
        workers = self.workers or capacity(cluster, per_worker)
        with ray_pool(ray, job, per_worker, self.start_timeout) as pool:
            dispatch(job, pool, workers, self.restarts, advance)

    def processes(self) -> int:
        """Return one a GPU that the cluster has room for, for a training; one where it has none.

        Raises:
            MissingDependencyError: Ray is not installed.
            HarnessError: there is no such cluster, or it has no room.
        """
        return self.training_processes(connect(self.address).cluster_resources())

    def training_processes(self, cluster: Mapping[str, float]) -> int:
        """Return how many processes a training has on a cluster with these resources."""
        per_worker = self.worker_resources(cluster, gpus=1)
        return capacity(cluster, per_worker) if per_worker["GPU"] else 1

    def run_group(self, job: GroupJob, processes: int) -> None:
        """Have so many processes of the cluster call the task's function.

        Raises:
            MissingDependencyError: Ray is not installed.
            ConfigError: the cluster has no room for so many.
            HarnessError: what a process raised; or processes were lost too often.
        """
        cluster = connect(self.address).cluster_resources()
        per_worker = self.worker_resources(cluster, gpus=1)
        if (available := capacity(cluster, per_worker)) < processes:
            raise ConfigError(
                f"optimiser.processes: {processes}, and the cluster has room for {available}; take "
                "fewer, or start its other nodes first"
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
            "`ray status`, and run the same command again; it goes on from the last checkpoint"
        )

    def worker_resources(self, cluster: Mapping[str, float], gpus: int) -> dict[str, int]:
        """Return what a worker takes of a cluster with these resources."""
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
            with warnings.catch_warnings(action="ignore"):  # what is wrong is told below
                ray.init(
                    address=address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise HarnessError(
                f"no Ray cluster answers at {address!r} ({first_line(error)}): start one with "
                "`ray start --head`; where it asks for a token, as `ray start` has it do, set "
                "RAY_AUTH_MODE=token; without launcher.address this machine is used"
            ) from error
    return ray


def capacity(cluster: Mapping[str, float], per_worker: Mapping[str, int]) -> int:
    """Return how many workers fit in a cluster with these resources.

    Raises:
        ConfigError: not one.
    """
    capacities = {
        key: int(cluster.get(key, 0)) // count for key, count in per_worker.items() if count
    }
    key = min(capacities, key=lambda name: capacities[name])
    if not capacities[key]:
        raise ConfigError(
            f"a worker takes {per_worker[key]} {key}s, and the whole cluster has "
            f"{int(cluster.get(key, 0))}; lower launcher.cpus_a_worker or the engine's GPUs"
        )
    return capacities[key]


START_TIMEOUT_VARIABLE = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def train_group(
    directory: Path, processes: int, per_worker: dict[str, int], start_timeout: float
) -> bool:
    """Have so many processes call the task's function; say whether all came to its end.

    Raises:
        HarnessError: they were not together after so many seconds of patience.
    """
    os.environ[START_TIMEOUT_VARIABLE] = str(start_timeout)
    with warnings.catch_warnings():  # Ray warns of settings of its own
        warnings.simplefilter("ignore")
        from ray import train as ray_train
        from ray.train.torch import TorchConfig, TorchTrainer

        trainer = TorchTrainer(
            run_process,
            train_loop_config={"place": str(directory), "folder": os.getcwd()},
            torch_config=TorchConfig(backend=BACKENDS if per_worker["GPU"] else "gloo"),
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
    """Return the last line of what an error says, which tells what was wrong."""
    return str(error).strip().splitlines()[-1]


def run_process(config: dict[str, Any]) -> None:
    """Call the task's function as one process of the group that stands."""
    import torch

    directory = Path(config["place"])
    try:
        require_visible(directory, GROUP_JOB_FILE)
        if torch.cuda.is_available():  # Ray has set this process's device
            os.environ["LOCAL_RANK"] = str(torch.cuda.current_device())
        with suppress(OSError):
            os.chdir(config["folder"])
        run, payload = jobs.read_call(directory / GROUP_JOB_FILE)
        run(payload)
    except HarnessError as error:
        error_files.write(directory, error)
        raise
