"""Robust DPO: an unbiased estimate of DPO's loss under labels that are flipped with a known rate.

Chowdhury et al., arXiv 2403.00409.
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


def robust_dpo_loss(batch: PairBatch, *, beta: float, epsilon: float) -> Tensor:
    """Return [−(1 − ε) log σ(m) + ε log σ(−m)] / (1 − 2ε) with DPO's margin m, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
        epsilon: ε, the probability that a label is flipped, in [0, ½); 0 is DPO.

    The expectation over flipped labels is DPO's loss under the true ones. Unlike the conservative
    loss it falls without bound as the margin grows.
    """
    margin = dpo_margin(batch, beta=beta)
    unflipped, flipped = -F.logsigmoid(margin), -F.logsigmoid(-margin)
    return ((1 - epsilon) * unflipped - epsilon * flipped) / (1 - 2 * epsilon)


class RobustDPO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    epsilon: float = Field(ge=0, lt=0.5)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return robust_dpo_loss(batch, beta=self.beta, epsilon=self.epsilon)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
