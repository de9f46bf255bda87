"""SPPO: self-play preference optimisation with soft win rates (arXiv 2405.00675, equation 4.7)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import Logps, PairBatch


def sppo_margin(batch: PairBatch) -> Tensor:
    """Return the contrast of log-ratios to π_t, in nats, shape (batch,)."""
    return (batch.policy - batch.anchors["previous"]).contrast()


def sppo_loss(batch: PairBatch, *, eta: float) -> Tensor:
    """Return how far each response's log-ratio lies from its win rate's, shape (batch,).

    ½ Σ over y_w, y_l of (log π(y)/π_t(y) − η (P(y ≻ π_t) − ½))², log Z being taken as η/2.

    Args:
        batch: log-probabilities summed over the response, in nats; win rates against π_t.
        eta: η, the step size (1/β in the official code).
    """
    return squared_distance(batch, batch.win_rates, eta=eta)


def squared_distance(batch: PairBatch, win_rates: Logps, *, eta: float) -> Tensor:
    """Return half the squared distances of both log-ratios from η (P − ½), shape (batch,)."""
    ratios = batch.policy - batch.anchors["previous"]
    chosen = ratios.chosen - eta * (win_rates.chosen - 0.5)
    rejected = ratios.rejected - eta * (win_rates.rejected - 0.5)
    return (chosen**2 + rejected**2) / 2


class SPPO(Component):
    """The loss with its step size."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"previous"})
    win_rates: ClassVar[bool] = True
    eta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return sppo_loss(batch, eta=self.eta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast of log-ratios per pair, shape (batch,)."""
        return sppo_margin(batch)
