"""SELM: self-exploring language models (arXiv 2405.19332, as its official code has the loss).

DPO with an optimism term on a response of the policy itself. Differs from the official code: there
it is one sample beside two responses of a data set, best and worst of which are trained on; here it
is the policy's own response in the pair, their mean if both are, and none if neither is.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_loss, dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def selm_loss(batch: PairBatch, *, beta: float, alpha: float) -> Tensor:
    """Return DPO's loss plus αβ log π(y)/π_ref(y) of the policy's own responses, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
        alpha: α, the weight of exploration; 0 is DPO.
    """
    ratios, own = batch.policy - batch.anchors["reference"], batch.sampled_by("policy")
    total = own.chosen * ratios.chosen + own.rejected * ratios.rejected
    count = (own.chosen + own.rejected).clamp(min=1)
    return dpo_loss(batch, beta=beta) + alpha * beta * total / count


class SELM(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    alpha: float = Field(ge=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return selm_loss(batch, beta=self.beta, alpha=self.alpha)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
