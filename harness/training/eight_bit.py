"""AdamW whose moments take 8 bits (arXiv 2110.02861), through torchao.

A weight of fewer than 4,096 elements, or not a multiple of 256, keeps float32 moments. torchao's
step is compiled, on a processor by a C++ compiler, once for each shape of weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harness.errors import CheckError
from harness.training.packages import package

if TYPE_CHECKING:
    from harness.training.optimisers import Optimiser

INSTEAD = "--set optimiser.algorithm=adamw"


def adamw(settings: Optimiser, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser over the parameters that are trained.

    Raises:
        MissingDependencyError: torchao is not installed.
        CheckError: a weight's rows do not divide among the processes that shard it.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for name, parameter in named:
        check_even(name, parameter)
    made: torch.optim.Optimizer = library().AdamW8bit(
        [parameter for _, parameter in named],
        settings.learning_rate,
        settings.betas,
        settings.epsilon,
        settings.weight_decay,
    )
    return made


def library() -> Any:
    """Return torchao's optimisers.

    Raises:
        MissingDependencyError: torchao is not installed.
    """
    return package(
        "torchao.optim",
        "8-bit AdamW needs torchao: pip install 'preference-harness[eight-bit]', or " + INSTEAD,
    )


def check_even(name: str, parameter: Tensor) -> None:
    """Refuse shards of unequal size, for which torchao's compiled step fails half way.

    Raises:
        CheckError: the rows do not divide.
    """
    parts = shards(parameter)
    if parameter.shape[0] % parts:
        raise CheckError(
            f"8-bit AdamW needs shards of one size: the {parameter.shape[0]} rows of {name} do not "
            f"divide among {parts} processes: set optimiser.processes to a number that divides "
            f"them, or {INSTEAD}"
        )


def shards(parameter: Tensor) -> int:
    """Return among how many processes a parameter's rows are sharded."""
    if not dist.is_initialized():
        return 1
    from torch.distributed.tensor import DTensor

    if not isinstance(parameter, DTensor):
        return 1
    placed = enumerate(parameter.placements)
    return math.prod(parameter.device_mesh.size(i) for i, where in placed if where.is_shard())
