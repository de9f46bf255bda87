"""RPO: DPO with the likelihood of the chosen response (arXiv 2404.19733, section 2)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from baselines.dpo import dpo_loss, dpo_margin
from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def rpo_loss(batch: PairBatch, *, beta: float, alpha: float) -> Tensor:
    """Return DPO's loss plus α times −log π(y_w) per token, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        beta: β, the strength of the KL pull towards the reference.
        alpha: α, the weight of the likelihood; 0 is DPO.

    Differs from the paper: nothing. Trainers that average over all chosen tokens of a batch weigh
    long responses more; here every pair weighs the same.
    """
    likelihood = batch.policy.chosen / batch.lengths.chosen
    return dpo_loss(batch, beta=beta) - alpha * likelihood


class RPO(Component):
    """The loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)
    alpha: float = Field(ge=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return rpo_loss(batch, beta=self.beta, alpha=self.alpha)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the implicit reward's difference per pair, shape (batch,)."""
        return dpo_margin(batch, beta=self.beta)
