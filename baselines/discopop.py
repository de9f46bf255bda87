"""DiscoPOP: the loss that a search by a language model has found (arXiv 2406.08414, equation 5).

It is not monotone: a pair that is wrong by a little costs less than one that is right by as much.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def discopop_loss(batch: PairBatch, *, beta: float, tau: float) -> Tensor:
    """Return −(1 − σ(m/τ)) log σ(m) + σ(m/τ) exp(−m) with DPO's margin m, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
        tau: τ, the temperature of the mixture of the logistic and the exponential loss.
    """
    margin = dpo_margin(batch, beta=beta)
    share = (margin / tau).sigmoid()
    return -(1 - share) * F.logsigmoid(margin) + share * (-margin).exp()


class DiscoPOP(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    tau: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return discopop_loss(batch, beta=self.beta, tau=self.tau)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
