"""Training on a Ray cluster: the same function, called in the process group of Ray Train."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import work
from harness.errors import HarnessError
from harness.launchers import failures
from harness.launchers.member import BACKENDS, TASK
from harness.launchers.ray_crew import see

START_SECONDS = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def train(place: Path, processes: int, need: dict[str, int], patience: float) -> bool:
    """Have so many processes call the task's function; say whether all came to its end.

    Raises:
        HarnessError: they were not together after so many seconds of patience.
    """
    os.environ[START_SECONDS] = str(patience)
    with warnings.catch_warnings():  # Ray warns of settings of its own
        warnings.simplefilter("ignore")
        from ray import train as ray_train
        from ray.train.torch import TorchConfig, TorchTrainer

        trainer = TorchTrainer(
            take_part,
            train_loop_config={"place": str(place), "folder": os.getcwd()},
            torch_config=TorchConfig(backend=BACKENDS if need["GPU"] else "gloo"),
            scaling_config=ray_train.ScalingConfig(
                num_workers=processes, use_gpu=bool(need["GPU"]), resources_per_worker=need
            ),
            run_config=ray_train.RunConfig(
                name="ray",
                storage_path=str(place),
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


def take_part(told: dict[str, Any]) -> None:
    """Call the task's function as one process of the group that stands."""
    import torch

    place = Path(told["place"])
    try:
        see(place, TASK)
        if torch.cuda.is_available():  # Ray has set this process's device
            os.environ["LOCAL_RANK"] = str(torch.cuda.current_device())
        with suppress(OSError):
            os.chdir(told["folder"])
        do, given = work.read(place / TASK)
        do(given)
    except HarnessError as error:
        failures.leave(place, error)
        raise
