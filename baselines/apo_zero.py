"""APO-zero: anchored preference optimisation (arXiv 2408.06266, equation 7).

For chosen responses that are better than the policy's own: it raises the one and lowers the other.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def apo_zero_loss(batch: PairBatch, *, beta: float) -> Tensor:
    """Return 1 − σ(β s_w) + σ(β s_l), with s = log π/π_ref, one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
    """
    ratios = batch.policy - batch.anchors["reference"]
    return 1 - (beta * ratios.chosen).sigmoid() + (beta * ratios.rejected).sigmoid()


class APOZero(Component):
    """The loss with its temperature."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return apo_zero_loss(batch, beta=self.beta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
