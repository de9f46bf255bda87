"""DNO: direct Nash optimisation (arXiv 2404.03715, algorithm 1).

Its practical form, DNO-Prct (algorithm 2), is DPO with `reference: previous` on pairs with a large
margin: `configs/train/dno-prct.yaml`.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def dno_margin(batch: PairBatch, *, eta: float) -> Tensor:
    """Return η times the contrast of log-ratios to π_t, shape (batch,)."""
    return eta * (batch.policy - batch.anchors["previous"]).contrast()


def dno_loss(batch: PairBatch, *, eta: float) -> Tensor:
    """Return the cross-entropy of the preference by win rates and the policy's, shape (batch,).

    −σ(r_w − r_l) log σ(m) − σ(r_l − r_w) log σ(−m), with r(y) = P(y ≻ π_t) and the margin m.

    Args:
        batch: log-probabilities summed over the response, in nats; win rates against π_t.
        eta: η, the strength of the KL pull towards π_t.
    """
    margin = dno_margin(batch, eta=eta)
    rewards = batch.win_rates.contrast()
    return -rewards.sigmoid() * F.logsigmoid(margin) - (-rewards).sigmoid() * F.logsigmoid(-margin)


class DNO(Component):
    """The loss with its constant."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"previous"})
    win_rates: ClassVar[bool] = True
    eta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return dno_loss(batch, eta=self.eta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the margin per pair, shape (batch,)."""
        return dno_margin(batch, eta=self.eta)
