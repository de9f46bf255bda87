"""KTO: Kahneman-Tversky optimisation (arXiv 2402.01306, equation 7), on pairs.

Differs from the paper: its data are single responses, good or bad; here a pair is one of each. Its
reference point is KL(π ‖ π_ref) over a batch of mismatched prompts and responses; here it is the
estimate from the pair's own two responses, which are samples of the policy, so that a pair's loss
depends on nothing but the pair, however batches are split.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def kto_margin(batch: PairBatch, *, beta: float) -> Tensor:
    """Return β times the contrast of log-ratios to the reference, shape (batch,)."""
    return beta * (batch.policy - batch.anchors["reference"]).contrast()


def kto_loss(
    batch: PairBatch, *, beta: float, desirable: float = 1.0, undesirable: float = 1.0
) -> Tensor:
    """Return λ_D (1 − σ(β (s_w − z))) + λ_U (1 − σ(β (z − s_l))), one per pair, shape (batch,).

    s is log π/π_ref of a response, z = max(0, (s_w + s_l) / 2) without gradient.

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, how fast the value saturates.
        desirable: λ_D, the weight of chosen responses.
        undesirable: λ_U, the weight of rejected responses.
    """
    ratios = batch.policy - batch.anchors["reference"]
    reference_point = ((ratios.chosen + ratios.rejected) / 2).detach().clamp(min=0)
    gains = 1 - (beta * (ratios.chosen - reference_point)).sigmoid()
    losses = 1 - (beta * (reference_point - ratios.rejected)).sigmoid()
    return desirable * gains + undesirable * losses


class KTO(Component):
    """The loss with its three constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    desirable: float = Field(1.0, ge=0)
    undesirable: float = Field(1.0, ge=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return kto_loss(
            batch, beta=self.beta, desirable=self.desirable, undesirable=self.undesirable
        )

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return kto_margin(batch, beta=self.beta)
