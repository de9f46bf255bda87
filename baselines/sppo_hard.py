"""SPPO with hard win rates: the chosen response always wins (arXiv 2405.00675, equation 4.7)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from baselines.sppo import sppo_margin, squared_distance
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import Logps, PairBatch


def sppo_hard_loss(batch: PairBatch, *, eta: float) -> Tensor:
    """Return SPPO's loss with P(y_w ≻ π_t) = 1 and P(y_l ≻ π_t) = 0, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        eta: η, the step size (1/β in the official code).

    TRL's `sppo_hard` has no factor ½: its value is twice this one.
    """
    always = torch.ones_like(batch.policy.chosen)
    return squared_distance(batch, Logps(always, torch.zeros_like(always)), eta=eta)


class SPPOHard(Component):
    """The loss with its step size."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"previous"})
    win_rates: ClassVar[bool] = False
    eta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return sppo_hard_loss(batch, eta=self.eta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast of log-ratios per pair, shape (batch,)."""
        return sppo_margin(batch)
