"""What the optimiser is: its settings, its rate at each step, and torch's object for it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from harness.config import Component
from harness.training import adapters, eight_bit
from harness.training.adapters import Lora
from harness.training.trackers import Packaged, Tracker


class Optimiser(Component):
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
    has: one a GPU of this machine or of Ray's cluster, all that torchrun or Slurm has started; one
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
    track: Tracker | None = Field(None, exclude=True)
    """Who else is told every step's figures."""

    @model_validator(mode="after")
    def _fits_together(self) -> Optimiser:
        if self.processes and self.nodes and self.processes % self.nodes:
            raise ValueError(f"{self.processes} processes do not divide among {self.nodes} nodes")
        return self


def require(settings: Optimiser) -> None:
    """Say at once, not after hours of sampling, that a package is missing.

    Raises:
        MissingDependencyError: it is.
    """
    if settings.lora:
        adapters.library()
    if settings.algorithm == "adamw-8bit":
        eight_bit.library()
    if isinstance(settings.track, Packaged):
        settings.track.library()


def factor(settings: Optimiser, step: int, steps: int) -> float:
    """Return the share of the peak learning rate at a step, counted from 0."""
    warm = math.ceil(settings.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    match settings.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            return 1 - done
        case "constant":
            return 1.0


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Have an optimiser take its next step at a learning rate.

    torchao keeps the rate in a tensor and takes no other object: a step that is compiled for a
    number would be compiled again for the next one.
    """
    for group in optimiser.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def optimiser_of(settings: Optimiser, model: nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimiser over the parameters that are trained.

    Raises:
        MissingDependencyError: 8-bit states are asked for without torchao.
        CheckError: 8-bit states are asked for, and shards would differ in size.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    match settings.algorithm:
        case "adamw":
            return torch.optim.AdamW(
                trained, rate, settings.betas, settings.epsilon, decay, fused=True
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                trained, rate, alpha=settings.betas[1], eps=settings.epsilon, weight_decay=decay
            )
        case "adamw-8bit":
            return eight_bit.adamw(settings, model)
