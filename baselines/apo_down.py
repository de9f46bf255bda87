"""APO-down: anchored preference optimisation (arXiv 2408.06266, equation 8).

For chosen responses that are worse than the policy's own: it lowers both, the rejected one more.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def apo_down_loss(batch: PairBatch, *, beta: float) -> Tensor:
    """Return σ(β s_w) + 1 − σ(β (s_w − s_l)), with s = log π/π_ref, one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
    """
    ratios = batch.policy - batch.anchors["reference"]
    return (beta * ratios.chosen).sigmoid() + 1 - dpo_margin(batch, beta=beta).sigmoid()


class APODown(Component):
    """The loss with its temperature."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return apo_down_loss(batch, beta=self.beta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
