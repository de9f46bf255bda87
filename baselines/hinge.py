"""A hinge on DPO's margin (arXiv 2305.10425 and 2309.06657, as TRL has it).

Differs from SLiC-HF, whose own loss has no reference and adds the likelihood of a target.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def hinge_loss(batch: PairBatch, *, beta: float) -> Tensor:
    """Return max(0, 1 − m) with DPO's margin m, one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
    """
    return (1 - dpo_margin(batch, beta=beta)).clamp(min=0)


class Hinge(Component):
    """The loss with its temperature."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return hinge_loss(batch, beta=self.beta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
