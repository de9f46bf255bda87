"""SimPO: simple preference optimisation, without a reference (arXiv 2405.14734, equation 6)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def simpo_margin(batch: PairBatch, *, beta: float, gamma: float) -> Tensor:
    """Return β times the contrast of log-probabilities per token, less γ, shape (batch,).

    It has no anchor, so that it is not 0 where training begins.
    """
    return beta * (batch.policy / batch.lengths).contrast() - gamma


def simpo_loss(batch: PairBatch, *, beta: float, gamma: float) -> Tensor:
    """Return −log σ of the margin, one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats, and lengths in tokens.
        beta: β, the scale of the reward.
        gamma: γ, by how much the chosen reward should exceed the rejected one (the official code
            takes γ/β).
    """
    return -F.logsigmoid(simpo_margin(batch, beta=beta, gamma=gamma))


class SimPO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset()
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    gamma: float = Field(ge=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return simpo_loss(batch, beta=self.beta, gamma=self.gamma)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the reward's difference less γ per pair, shape (batch,)."""
        return simpo_margin(batch, beta=self.beta, gamma=self.gamma)
