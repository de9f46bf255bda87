"""NCA: noise-contrastive alignment, on pairs (arXiv 2402.05369, as its official code has the loss).

Differs from DPO in that each response has a term of its own, so that the chosen one's likelihood is
kept from falling.
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


def nca_loss(batch: PairBatch, *, beta: float) -> Tensor:
    """Return −log σ(β s_w) − ½ log σ(−β s_w) − ½ log σ(−β s_l), one per pair, shape (batch,).

    s is log π/π_ref of a response.

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
    """
    ratios = batch.policy - batch.anchors["reference"]
    chosen, rejected = beta * ratios.chosen, beta * ratios.rejected
    noise = F.logsigmoid(-chosen) + F.logsigmoid(-rejected)
    return -F.logsigmoid(chosen) - noise / 2


class NCA(Component):
    """The loss with its temperature."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return nca_loss(batch, beta=self.beta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
