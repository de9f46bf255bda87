"""The optimiser's loop: steps of weighted micro-batches, clipped AdamW, a learning-rate schedule.

Masters are float32. A step's loss is the mean over its items however they are split, so that the
memory a micro-batch takes never changes the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.config import Component
from harness.errors import CheckError
from harness.types import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Part = tuple[Tensor, Mapping[str, Tensor]]
"""A micro-batch's losses, one an item, and what else of it is worth a line in the log."""


class Optimiser(Component):
    """AdamW and its schedule; the names are the field's."""

    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0."""
    epochs: int = Field(1, gt=0)
    batch: int = Field(gt=0)
    """Items (pairs, or texts in fine-tuning) an optimiser step."""
    micro_batch: int = Field(64, gt=0, exclude=True)
    """Items in memory at once."""
    clip: float = Field(1.0, gt=0)
    """Largest global gradient norm."""
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8


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


def minimise(
    model: PreTrainedModel,
    settings: Optimiser,
    steps: Sequence[Sequence[int]],
    loss: Callable[[Sequence[int]], Part],
    advance: Advance,
) -> list[dict[str, float]]:
    """Minimise the mean of `loss` over the items of every step; return the log, a row a step.

    Args:
        model: trained in place; its parameters are the float32 masters.
        settings: the optimiser.
        steps: for each step the indices of its items.
        loss: indices of a micro-batch → (loss of each item, further figures of each item).
        advance: called with 1 after every step.

    Raises:
        CheckError: a loss or gradient is not finite.
    """
    model.train()
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    log = []
    for number, items in enumerate(steps):
        rate = settings.learning_rate * factor(settings, number, len(steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        figures = _accumulate(items, settings.micro_batch, loss)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        if not math.isfinite(float(norm)):
            raise CheckError(
                f"the gradient of step {number + 1} is not finite; lower learning_rate"
            )
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        row = {"step": float(number + 1), "learning_rate": rate, "gradient_norm": float(norm)}
        log.append({**row, **figures})
        advance(1)
    model.eval()
    return log


def _accumulate(
    items: Sequence[int], size: int, loss: Callable[[Sequence[int]], Part]
) -> dict[str, float]:
    totals: dict[str, float] = {}
    for part in _parts(items, size):
        losses, figures = loss(part)
        (losses.sum() / len(items)).backward()
        for name, values in {"loss": losses, **figures}.items():
            totals[name] = totals.get(name, 0.0) + float(values.detach().sum())
    return {name: total / len(items) for name, total in totals.items()}


def _parts(items: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))
