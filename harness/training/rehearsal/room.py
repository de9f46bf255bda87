"""Whether there is room for a training: on the disk, and in the GPUs that are here."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from harness.core.hardware import has_gpu
from harness.errors import PolicyError, StoreError
from harness.training.estimate import (
    GB,
    MASTER_BYTES,
    activation_bytes,
    model_shape,
    state_bytes,
    training_bytes,
)
from harness.training.spec import TrainSpec

LOGGER = logging.getLogger(__name__)


def check_room(spec: TrainSpec, root: Path, trainings: int) -> None:
    """Check that policies and checkpoints fit the disk, and that a training fits the GPUs.

    What is not known (the sizes of a model without a configuration) is not checked.

    Args:
        spec: the method.
        root: the workspace.
        trainings: policies that are still to be trained.

    Raises:
        StoreError: the disk is too small.
        PolicyError: the GPUs are.
    """
    shape = model_shape(spec.policy)
    if shape is None or not trainings:
        return
    policy = MASTER_BYTES * shape.parameters
    checkpoints = spec.optimiser.checkpoints * state_bytes(shape, spec.optimiser)
    check_disk(root, trainings, policy, checkpoints)
    if has_gpu():
        check_memory(spec, *visible_memory())


def check_disk(root: Path, policies: int, policy: float, checkpoints: float) -> None:
    """Check that a disk has room for some policies, and the checkpoints of one training, in bytes.

    Raises:
        StoreError: it has not.
    """
    existing = next(path for path in (root, *root.parents) if path.exists())
    free, needed = shutil.disk_usage(existing).free, policies * policy + checkpoints
    if needed > free:
        raise StoreError(
            f"the disk of {root} has {free / GB:.1f} GB free, and the training writes "
            f"{needed / GB:.1f} GB: {policies} policies of {policy / GB:.1f} GB and checkpoints of "
            f"{checkpoints / GB:.1f} GB; make room (`harness workspace prune`), or train in "
            "another place with --workspace DIR"
        )


def visible_memory() -> tuple[int, int]:
    """Return the number of this machine's GPUs, and the bytes of the smallest one."""
    import torch

    count = torch.cuda.device_count()
    sizes = [torch.cuda.get_device_properties(index).total_memory for index in range(count)]
    return count, min(sizes)


def check_memory(spec: TrainSpec, gpus: int, memory: float) -> None:
    """Check that the weights, gradients and optimiser states of a training fit its GPUs.

    Those are known; activations are estimated, so that they are only warned of.

    Args:
        spec: the method.
        gpus: the number of GPUs.
        memory: of one, in bytes.

    Raises:
        PolicyError: they do not fit.
    """
    shape = model_shape(spec.policy)
    if shape is None:
        return
    processes = spec.optimiser.processes or gpus
    total = training_bytes(shape, spec, processes)
    states = total - activation_bytes(shape, spec)
    if states > memory:
        raise PolicyError(
            f"weights, gradients and optimiser states take {states / GB:.1f} GB on each of "
            f"{processes} GPUs of {memory / GB:.1f} GB: see what would fit with --dry-run --gpus N"
        )
    if total > memory:
        LOGGER.warning(
            "training takes about %.1f GB on GPUs of %.1f GB: if it does not fit, the error says "
            "which setting would; --dry-run lists them before",
            total / GB,
            memory / GB,
        )
