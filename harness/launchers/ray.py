"""A Ray cluster: pieces by actors on its GPUs, training in a process group of Ray Train's."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from harness import work
from harness.config import Component
from harness.errors import ConfigError, HarnessError, MissingDependencyError
from harness.launchers import failures
from harness.launchers.dispatch import dispatch
from harness.launchers.member import TASK
from harness.launchers.ray_crew import crew
from harness.models import first_line
from harness.types import Advance
from harness.work import Task, Work

QUIET = {
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

    piece: int = Field(512, gt=0)
    """How many prompts are sampled or compared, or pairs scored, at a time."""
    address: str | None = None
    """The cluster's: HOST:PORT, `auto`, ray://HOST:PORT; None: the one this machine belongs to, or
    else a new one of this machine alone, which ends with the command; `local`: a new one."""
    workers: int | None = Field(None, gt=0)
    """Actors that take pieces from one queue; None: as many as the cluster has GPUs for, or without
    GPUs processors."""
    cpus_a_worker: int = Field(1, gt=0)
    """Processors that each actor, and each process of a training, takes."""
    restarts: int = Field(3, ge=0)
    """How many actors may be started in place of lost ones; and how often a training that lost a
    process goes on from its last checkpoint."""
    patience: float = Field(900.0, gt=0)
    """Seconds that the cluster may take until a first worker has started."""

    def spread(self, work: Work, advance: Advance) -> None:
        """Do every piece that does not stand, on whichever node has room.

        Raises:
            MissingDependencyError: Ray is not installed.
            StoreError: a node does not see the workspace.
            HarnessError: there is no such cluster, or it has no room; what a worker raised; a piece
                ended its worker twice; all workers are lost.
        """
        if not work.missing():
            advance(sum(work.sizes))
            return
        ray = joined(self.address)
        there = ray.cluster_resources()
        need = self.need(there, work.gpus)
        workers = self.workers or room(there, need)
        with crew(ray, work, need, self.patience) as actors:
            dispatch(work, actors, workers, self.restarts, advance)

    def processes(self) -> int:
        """Return one a GPU that the cluster has room for, for a training; one where it has none.

        Raises:
            MissingDependencyError: Ray is not installed.
            HarnessError: there is no such cluster, or it has no room.
        """
        return self.training(joined(self.address).cluster_resources())

    def training(self, there: Mapping[str, float]) -> int:
        """Return how many processes a training has on a cluster with these resources."""
        need = self.need(there, gpus=1)
        return room(there, need) if need["GPU"] else 1

    def together(self, task: Task, processes: int) -> None:
        """Have so many processes of the cluster call the task's function.

        Raises:
            MissingDependencyError: Ray is not installed.
            ConfigError: the cluster has no room for so many.
            HarnessError: what a process raised; or processes were lost too often.
        """
        from harness.launchers.ray_group import train

        there = joined(self.address).cluster_resources()
        need = self.need(there, gpus=1)
        if (fit := room(there, need)) < processes:
            raise ConfigError(
                f"optimiser.processes: {processes}, and the cluster has room for {fit}; take "
                "fewer, or start its other nodes first"
            )
        work.write(task.place / TASK, task.do, task.told)
        for _ in range(self.restarts + 1):
            failures.forget(task.place)
            if train(task.place, processes, need, self.patience):
                return
            if error := failures.left(task.place):
                raise error
        raise HarnessError(
            f"the training lost processes {self.restarts + 1} times: out of memory? Look at "
            "`ray status`, and run the same command again; it goes on from the last checkpoint"
        )

    def need(self, there: Mapping[str, float], gpus: int) -> dict[str, int]:
        """Return what a worker takes of a cluster with these resources."""
        return {"CPU": self.cpus_a_worker, "GPU": gpus if there.get("GPU") else 0}


def joined(address: str | None) -> Any:
    """Return Ray, connected to a cluster until this process ends.

    Raises:
        MissingDependencyError: Ray is not installed.
        HarnessError: there is no cluster at the address.
    """
    os.environ.update(QUIET)
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


def room(there: Mapping[str, float], need: Mapping[str, int]) -> int:
    """Return how many workers fit in a cluster with these resources.

    Raises:
        ConfigError: not one.
    """
    fits = {key: int(there.get(key, 0)) // count for key, count in need.items() if count}
    key = min(fits, key=lambda name: fits[name])
    if not fits[key]:
        raise ConfigError(
            f"a worker takes {need[key]} {key}s, and the whole cluster has "
            f"{int(there.get(key, 0))}; lower launcher.cpus_a_worker or the engine's GPUs"
        )
    return fits[key]
