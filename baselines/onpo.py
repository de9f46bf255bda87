"""ONPO: optimistic Nash policy optimisation (arXiv 2502.16852).

Two fits per round on the same pairs: the first takes the auxiliary policy π'_t to π'_{t+1}, the
second takes that to π_{t+1}. Each is this loss, whose anchor is where the fit begins; the schedule
has both: `configs/train/onpo.yaml`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def onpo_margin(batch: PairBatch) -> Tensor:
    """Return the contrast of log-ratios to the policy that the fit begins with, shape (batch,)."""
    return (batch.policy - batch.anchors["previous"]).contrast()


def onpo_loss(batch: PairBatch, *, eta: float) -> Tensor:
    """Return the squared distance of the margin from η/2, one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        eta: η, the step size: the inverse of INPO's η.
    """
    return (onpo_margin(batch) - eta / 2) ** 2


class ONPO(Component):
    """The loss with its step size."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"previous"})
    win_rates: ClassVar[bool] = False
    eta: float = Field(gt=0)

    @property
    def target(self) -> float:
        """The value that the loss pulls the margin to, in nats."""
        return self.eta / 2

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return onpo_loss(batch, eta=self.eta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast of log-ratios per pair, shape (batch,)."""
        return onpo_margin(batch)
