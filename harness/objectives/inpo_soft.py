"""INPO with soft labels: the target of a pair is as large as the oracle's preference is clear.

Not of the paper, which rounds the preference model's probability to a label. Proposition 6 asks for
labels drawn with that probability; this is their mean, and so has the same minimiser with less
noise. `docs/theory.md` tells what rounding does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from harness.config import Component
from harness.objectives.inpo import INPO, inpo_margin
from harness.protocols import Anchor
from harness.types import PairBatch

if TYPE_CHECKING:
    from torch import Tensor


def inpo_soft_loss(batch: PairBatch, *, eta: float, tau: float) -> Tensor:
    """Return the squared distance of the margin from (P − ½)/η, one per pair, shape (batch,).

    Args:
        batch: pairs of responses of π_t; `probability` is P(y_w ≻ y_l).
        eta: η, the inverse step size; where P is 1 the target is INPO's, 1/(2η) nats.
        tau: τ, the strength of the KL pull towards the reference.
    """
    return (inpo_margin(batch, eta=eta, tau=tau) - (batch.probability - 0.5) / eta) ** 2


class SoftINPO(Component):
    """The objective with INPO's two constants; its target is another for every pair."""

    anchors: ClassVar[frozenset[Anchor]] = INPO.anchors
    win_rates: ClassVar[bool] = False
    eta: float = Field(gt=0)
    tau: float = Field(ge=0)

    @model_validator(mode="after")
    def _weights_are_a_mixture(self) -> SoftINPO:
        if self.tau > self.eta:
            raise ValueError(f"tau must not exceed eta ({self.tau} > {self.eta})")
        return self

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return inpo_soft_loss(batch, eta=self.eta, tau=self.tau)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return h per pair, shape (batch,)."""
        return inpo_margin(batch, eta=self.eta, tau=self.tau)
