"""Conservative DPO: DPO with smoothed labels.

Mitchell, "A note on DPO with noisy preferences & relationship to IPO", 2023.

Where labels are wrong with probability ε, the likelihood is a mixture; unlike DPO's, its optimum is
finite: at the margin log((1 − ε)/ε). It is `label_smoothing` in trainers derived from DPO's code.
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


def cdpo_loss(batch: PairBatch, *, beta: float, epsilon: float) -> Tensor:
    """Return −(1 − ε) log σ(m) − ε log σ(−m) with DPO's margin m, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
        epsilon: ε, the share of labels taken to be wrong, in [0, ½); 0 is DPO.
    """
    margin = dpo_margin(batch, beta=beta)
    return -(1 - epsilon) * F.logsigmoid(margin) - epsilon * F.logsigmoid(-margin)


class CDPO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    epsilon: float = Field(ge=0, lt=0.5)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return cdpo_loss(batch, beta=self.beta, epsilon=self.epsilon)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
