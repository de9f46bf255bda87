"""XPO: exploratory preference optimisation (arXiv 2405.21046, algorithm 1).

One response of a pair is the policy's, the other one the reference's; which wins, the oracle says.
The term that explores lowers the likelihood of the reference's. Differs from the paper, which fits
all pairs so far in every iteration; here an iteration fits its own.
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


def xpo_loss(batch: PairBatch, *, beta: float, alpha: float) -> Tensor:
    """Return DPO's loss plus α log π(ỹ) of the reference's response ỹ, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats; which response the reference
            has sampled.
        beta: β, the strength of the KL pull towards the reference.
        alpha: α, the weight of exploration in nats of a whole response; 0 is DPO.
    """
    sampled = batch.sampled_by("reference")
    explored = sampled.chosen * batch.policy.chosen + sampled.rejected * batch.policy.rejected
    return -F.logsigmoid(dpo_margin(batch, beta=beta)) + alpha * explored


class XPO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    reads: ClassVar[frozenset[str]] = frozenset({"samplers"})
    samplers: ClassVar[frozenset[str]] = frozenset({"reference"})
    """The policies beside π_t that must be sampled."""
    beta: float = Field(gt=0)
    alpha: float = Field(ge=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return xpo_loss(batch, beta=self.beta, alpha=self.alpha)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
