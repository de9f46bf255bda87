"""RSPO: regularised self-play with a reverse KL to the reference (arXiv 2503.00030, version 2).

SPPO with a pull towards the reference. The paper's estimate of the pull was not found; here it is
½ s², s = log π/π_ref, of each response, whose gradient at π = π_t is that of KL(π ‖ π_ref). It is
not corrected for the steps by which π has left π_t.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from baselines.sppo import sppo_loss, sppo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def rspo_loss(batch: PairBatch, *, eta: float, strength: float) -> Tensor:
    """Return SPPO's loss plus λ/2 Σ over y_w, y_l of (log π/π_ref)², one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats; win rates against π_t.
        eta: η, the step size, as SPPO's.
        strength: λ, the weight of the pull; 0 is SPPO.
    """
    ratios = batch.policy - batch.anchors["reference"]
    pull = (ratios.chosen**2 + ratios.rejected**2) / 2
    return sppo_loss(batch, eta=eta) + strength * pull


class RSPO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference", "previous"})
    win_rates: ClassVar[bool] = True
    eta: float = Field(gt=0)
    strength: float = Field(ge=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return rspo_loss(batch, eta=self.eta, strength=self.strength)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast of log-ratios to π_t per pair, shape (batch,)."""
        return sppo_margin(batch)
