"""AdamW whose moments take 8 bits (arXiv 2110.02861), through torchao.

A weight of fewer than 4,096 elements, or not a multiple of 256, keeps float32 moments. torchao's
step is compiled, on a processor by a C++ compiler, once for each shape of weights.

What the optimiser is: its settings, its rate at each step, and torch's object for it.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import Field, model_validator
from torch import Tensor, nn

from harness.core.config import Component
from harness.core.versions import import_package
from harness.errors import CheckError
from harness.protocols import Tracker
from harness.training import lora
from harness.training.lora import Lora
from harness.training.tracking import PackageTracker

ADVICE = "--set optimiser.algorithm=adamw"


def adamw_8bit(settings: OptimiserSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser over the parameters that are trained.

    Raises:
        MissingDependencyError: torchao is not installed.
        CheckError: a weight's rows do not divide among the processes that shard it.
    """
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for name, parameter in parameters:
        check_even_shards(name, parameter)
    optimiser: torch.optim.Optimizer = load_torchao().AdamW8bit(
        [parameter for _, parameter in parameters],
        settings.learning_rate,
        settings.betas,
        settings.epsilon,
        settings.weight_decay,
    )
    return optimiser


def load_torchao() -> Any:
    """Return torchao's optimisers.

    Raises:
        MissingDependencyError: torchao is not installed.
    """
    return import_package(
        "torchao.optim",
        "8-bit AdamW needs torchao: pip install 'preference-harness[eight-bit]', or " + ADVICE,
    )


def check_even_shards(name: str, parameter: Tensor) -> None:
    """Refuse shards of unequal size, for which torchao's compiled step fails half way.

    Raises:
        CheckError: the rows do not divide.
    """
    processes = shard_count(parameter)
    if parameter.shape[0] % processes:
        raise CheckError(
            f"8-bit AdamW needs shards of one size: the {parameter.shape[0]} rows of {name} do not "
            f"divide among {processes} processes: set optimiser.processes to a number that divides "
            f"them, or {ADVICE}"
        )


def shard_count(parameter: Tensor) -> int:
    """Return among how many processes a parameter's rows are sharded."""
    if not dist.is_initialized():
        return 1
    from torch.distributed.tensor import DTensor

    if not isinstance(parameter, DTensor):
        return 1
    placements = enumerate(parameter.placements)
    return math.prod(
        parameter.device_mesh.size(i) for i, placement in placements if placement.is_shard()
    )


class OptimiserSettings(Component):
    """AdamW or a relative, and its schedule; the names are the field's."""

    algorithm: Literal["adamw", "adamw-8bit", "rmsprop"] = "adamw"
    """rmsprop: with the second of `betas` as its decay."""
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0."""
    epochs: int = Field(1, gt=0)
    batch: int = Field(gt=0)
    """Items (pairs, or texts in fine-tuning) an optimiser step."""
    micro_tokens: int = Field(8192, gt=0, exclude=True)
    """Tokens in memory at once; a longer item is taken alone."""
    clip: float = Field(1.0, gt=0)
    """Largest global gradient norm."""
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    held_out: float = Field(0.0, ge=0, lt=1)
    """Share of the pairs that is not trained on but looked at: has the policy moved towards what
    is preferred there?"""
    lora: Lora | None = None
    """Train low-rank adapters only; None trains every weight."""
    processes: int | None = Field(None, gt=0, exclude=True)
    """Processes that train together, the weights sharded over them; None: as many as the launcher
    has: one a GPU of this machine or of Ray's cluster, every worker of a Slurm job; one
    where there is no GPU."""
    nodes: int | None = Field(None, gt=0, exclude=True)
    """Copies of the weights, each sharded over its part of the processes; None: one a machine."""
    offload: bool = Field(False, exclude=True)
    """Keep the shards in the processor's memory."""
    gradient_checkpointing: bool = Field(False, exclude=True)
    """Compute a layer's activations again for its gradient instead of keeping them."""
    compile: bool = Field(False, exclude=True)
    """Compile every layer; worth its minutes in long trainings."""
    checkpoint_minutes: float = Field(10.0, ge=0, exclude=True)
    """How much of a training a killed process may lose; 0: a checkpoint after every step."""
    checkpoints: int = Field(2, gt=0, exclude=True)
    """How many of the last checkpoints are kept while training."""
    tracker: Tracker | None = Field(None, exclude=True)
    """Who else is told every step's figures."""

    @model_validator(mode="after")
    def _check_processes(self) -> OptimiserSettings:
        if self.processes and self.nodes and self.processes % self.nodes:
            raise ValueError(f"{self.processes} processes do not divide among {self.nodes} nodes")
        return self


def check_packages(settings: OptimiserSettings) -> None:
    """Say at once, not after hours of sampling, that a package is missing.

    Raises:
        MissingDependencyError: it is.
    """
    if settings.lora:
        lora.load_peft()
    if settings.algorithm == "adamw-8bit":
        load_torchao()
    if isinstance(settings.tracker, PackageTracker):
        settings.tracker.load_package()


def learning_rate_factor(settings: OptimiserSettings, step: int, steps: int) -> float:
    """Return the share of the peak learning rate at a step, counted from 0."""
    warmup_steps = math.ceil(settings.warmup * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return 1 - progress
        case "constant":
            return 1.0


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Have an optimiser take its next step at a learning rate.

    torchao keeps the rate in a tensor and takes no other object: a step that is compiled for a
    number would be compiled again for the next one.
    """
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def build_optimiser(settings: OptimiserSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimiser over the parameters that are trained.

    Raises:
        MissingDependencyError: 8-bit states are asked for without torchao.
        CheckError: 8-bit states are asked for, and shards would differ in size.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    match settings.algorithm:
        case "adamw":
            return torch.optim.AdamW(
                parameters, rate, settings.betas, settings.epsilon, decay, fused=True
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                parameters, rate, alpha=settings.betas[1], eps=settings.epsilon, weight_decay=decay
            )
        case "adamw-8bit":
            return adamw_8bit(settings, model)
