"""WPO: weighted preference optimisation (arXiv 2406.11827, equation 2), without sampled alignment.

Differs from the official code, which divides the probability of each token by Σ_v π(v)², its mean
under the policy: that needs a second reduction over the vocabulary at every position of every step,
and the weights here are lower without it. As there, the product of both weights is at most 1 and
has no gradient; TRL has no such limit.
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


def wpo_loss(batch: PairBatch, *, beta: float) -> Tensor:
    """Return DPO's loss times min(1, π(y_w)^(1/|y_w|) π(y_l)^(1/|y_l|)), shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats; lengths in tokens.
        beta: β, the strength of the KL pull towards the reference.
    """
    per_token = batch.policy / batch.lengths
    weight = (per_token.chosen + per_token.rejected).detach().exp().clamp(max=1)
    return -weight * F.logsigmoid(dpo_margin(batch, beta=beta))


class WPO(Component):
    """The loss with its temperature."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return wpo_loss(batch, beta=self.beta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
