"""EXO: efficient exact optimisation, on pairs (arXiv 2402.00856, equation 16).

The reverse KL from the policy's preference to the smoothed label; DPO's is the forward one. Differs
from the official code, whose target weighs the rejected response with exp(−10) and is not
normalised, and which divides logits by a temperature of 0.8 first.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def exo_loss(batch: PairBatch, *, beta: float, epsilon: float) -> Tensor:
    """Return KL(Bernoulli(σ(m)) ‖ Bernoulli(1 − ε)) with DPO's margin m, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
        epsilon: ε, the label's share of the rejected response, in (0, ½).
    """
    margin = dpo_margin(batch, beta=beta)
    chosen = margin.sigmoid() * (F.logsigmoid(margin) - math.log1p(-epsilon))
    return chosen + (-margin).sigmoid() * (F.logsigmoid(-margin) - math.log(epsilon))


class EXO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    epsilon: float = Field(gt=0, lt=0.5)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return exo_loss(batch, beta=self.beta, epsilon=self.epsilon)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
