"""IPO: identity preference optimisation (arXiv 2310.12036, equation 17).

Iterative IPO is the same loss with `reference: previous` in the schedule: INPO with τ = 0.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def ipo_margin(batch: PairBatch, *, per_token: bool) -> Tensor:
    """Return the contrast of log-ratios to the reference, in nats (per token), shape (batch,)."""
    ratios = batch.policy - batch.anchors["reference"]
    return (ratios / batch.lengths if per_token else ratios).contrast()


def ipo_loss(batch: PairBatch, *, tau: float, per_token: bool = False) -> Tensor:
    """Return the squared distance of the margin from 1/(2τ), one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        tau: τ, the strength of the KL pull; the target is 1/(2τ) nats.
        per_token: divide each log-ratio by its response's length, as TRL and Online-RLHF do on the
            advice of the paper's authors; the paper's equation has the sum.
    """
    return (ipo_margin(batch, per_token=per_token) - 1 / (2 * tau)) ** 2


class IPO(Component):
    """The loss with its constant."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    tau: float = Field(gt=0)
    per_token: bool = False

    @property
    def target(self) -> float:
        """The value that the loss pulls the margin to, in nats."""
        return 1 / (2 * self.tau)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return ipo_loss(batch, tau=self.tau, per_token=self.per_token)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast of log-ratios per pair, shape (batch,)."""
        return ipo_margin(batch, per_token=self.per_token)
