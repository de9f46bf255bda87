"""DPO: direct preference optimisation (arXiv 2305.18290, equation 7)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def dpo_margin(batch: PairBatch, *, beta: float) -> Tensor:
    """Return β times the contrast of log-ratios to the reference, shape (batch,)."""
    return beta * (batch.policy - batch.anchors["reference"]).contrast()


def dpo_loss(batch: PairBatch, *, beta: float) -> Tensor:
    """Return minus the log-likelihood of the preference under Bradley-Terry, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
    """
    return -F.logsigmoid(dpo_margin(batch, beta=beta))


class DPO(Component):
    """The loss with its temperature."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return dpo_loss(batch, beta=self.beta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
