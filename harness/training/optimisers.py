"""Optimisers: their settings, learning-rate schedule and torch objects.

8-bit AdamW (arXiv 2110.02861) comes from torchao: a weight with fewer than 4,096 elements, or a
number of elements that is not a multiple of 256, keeps float32 optimiser states. torchao compiles
its step once for each shape of weights; on the CPU this needs a C++ compiler.
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


class OptimiserSettings(Component):
    """An optimiser, its learning-rate schedule, and how a training uses memory and processes."""

    algorithm: Literal["adamw", "adamw-8bit", "rmsprop"] = "adamw"
    """AdamW, AdamW with 8-bit states, or RMSprop without momentum."""
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0."""
    epochs: int = Field(1, gt=0)
    batch: int = Field(gt=0)
    """Items (pairs, or examples in fine-tuning) an optimiser step."""
    micro_tokens: int = Field(8192, gt=0, exclude=True)
    """Tokens in a micro-batch; an item that is longer forms a micro-batch alone."""
    clip: float = Field(1.0, gt=0)
    """The global gradient norm above which gradients are scaled down."""
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decays of the mean gradient and of its square."""
    alpha: float = Field(0.99, gt=0, lt=1)
    """RMSprop's decay of the squared gradient: torch's default, which transformers' `--optim
    rmsprop` leaves as it is."""
    epsilon: float = 1e-8
    held_out: float = Field(0.0, ge=0, le=0.5)
    """Share of the pairs held out of training, at most half; the log reports the accuracy on
    them."""
    lora: Lora | None = None
    """Train low-rank adapters only; None trains every weight."""
    processes: int | None = Field(None, gt=0, exclude=True)
    """Processes that the weights are sharded over; None: as many as the launcher provides, one a
    GPU, or a single process without a GPU."""
    nodes: int | None = Field(None, gt=0, exclude=True)
    """Replicas of the weights, each sharded over its part of the processes; None: one a machine."""
    offload: bool = Field(False, exclude=True)
    """Keep the shards in CPU memory."""
    gradient_checkpointing: bool = Field(False, exclude=True)
    """Recompute a layer's activations in the backward pass instead of keeping them."""
    compile: bool = Field(False, exclude=True)
    """Compile every layer, which takes minutes and pays off in long trainings."""
    checkpoint_minutes: float = Field(10.0, ge=0, exclude=True)
    """Minutes of training that a killed process may lose; 0: a checkpoint after every step."""
    checkpoints: int = Field(2, gt=0, exclude=True)
    """How many of the latest checkpoints are kept during training."""
    tracker: Tracker | None = Field(None, exclude=True)
    """An experiment tracker that receives the metrics of every step."""

    @model_validator(mode="after")
    def _check_processes(self) -> OptimiserSettings:
        if self.processes and self.nodes and self.processes % self.nodes:
            raise ValueError(f"{self.processes} processes do not divide among {self.nodes} nodes")
        return self


def check_packages(settings: OptimiserSettings) -> None:
    """Check before hours of sampling that the packages the settings need are installed.

    Raises:
        MissingDependencyError: one is not.
    """
    if settings.lora:
        lora.load_peft()
    if settings.algorithm == "adamw-8bit":
        load_torchao()
    if isinstance(settings.tracker, PackageTracker):
        settings.tracker.load_package()


def learning_rate_factor(settings: OptimiserSettings, step: int, steps: int) -> float:
    """Return the learning rate at a step, counted from 0, as a share of its peak.

    As transformers' schedules, which TRL and the papers' codes use: with a warm-up, the first step
    has a rate of 0.
    """
    warmup_steps = math.ceil(settings.warmup * steps)
    if step < warmup_steps:
        return step / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * progress))
        case "linear":
            return 1 - progress
        case "constant":
            return 1.0


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set an optimiser's learning rate.

    torchao's rate is a tensor that must stay the same object: a step compiled for a number would be
    compiled again for the next number.
    """
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def build_optimiser(settings: OptimiserSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Return the torch optimiser over a model's trainable parameters.

    Raises:
        MissingDependencyError: 8-bit states need torchao, which is not installed.
        CheckError: 8-bit states need shards of equal size, and these are not.
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
                parameters, rate, alpha=settings.alpha, eps=settings.epsilon, weight_decay=decay
            )
        case "adamw-8bit":
            return adamw_8bit(settings, model)


def adamw_8bit(settings: OptimiserSettings, model: nn.Module) -> torch.optim.Optimizer:
    """Return 8-bit AdamW over a model's trainable parameters.

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
    """Return the module with torchao's optimisers.

    Raises:
        MissingDependencyError: torchao is not installed.
    """
    return import_package(
        "torchao.optim",
        "8-bit AdamW needs torchao: pip install 'preference-harness[eight-bit]', or " + ADVICE,
    )


def check_even_shards(name: str, parameter: Tensor) -> None:
    """Refuse shards of unequal size, on which torchao's compiled step fails.

    Raises:
        CheckError: a parameter's rows do not divide among its processes.
    """
    processes = shard_count(parameter)
    if parameter.shape[0] % processes:
        raise CheckError(
            f"8-bit AdamW needs shards of equal size: the {parameter.shape[0]} rows of {name} do "
            f"not divide among {processes} processes: set optimiser.processes to a number that "
            f"divides them, or {ADVICE}"
        )


def shard_count(parameter: Tensor) -> int:
    """Return the number of processes that a parameter's rows are sharded over."""
    if not dist.is_initialized():
        return 1
    from torch.distributed.tensor import DTensor

    if not isinstance(parameter, DTensor):
        return 1
    placements = enumerate(parameter.placements)
    return math.prod(
        parameter.device_mesh.size(i) for i, placement in placements if placement.is_shard()
    )
