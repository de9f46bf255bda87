"""R-DPO: DPO with a penalty on length (arXiv 2403.19159, equation 9).

The reward is taken to be less α a token, so that a longer chosen response is learnt less from.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def r_dpo_loss(batch: PairBatch, *, beta: float, alpha: float) -> Tensor:
    """Return −log σ(m + α (|y_w| − |y_l|)) with DPO's margin m, one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats; lengths in tokens.
        beta: β, the strength of the KL pull towards the reference.
        alpha: α, the penalty a token; 0 is DPO.
    """
    return -F.logsigmoid(dpo_margin(batch, beta=beta) + alpha * batch.lengths.contrast())


class RDPO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    alpha: float = Field(ge=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return r_dpo_loss(batch, beta=self.beta, alpha=self.alpha)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
