"""REBEL: regression to relative rewards (arXiv 2404.16767, as its official code has the loss).

Differs from the official code: that divides logits by the sampling temperature (0.8), in the stored
and in the trained pass alike, and so regresses another policy's log-probabilities.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import Logps, PairBatch


def rebel_margin(batch: PairBatch) -> Tensor:
    """Return the contrast of log-ratios to π_t, in nats, shape (batch,)."""
    return (batch.policy - batch.anchors["previous"]).contrast()


def rebel_loss(batch: PairBatch, rewards: Logps, *, eta: float) -> Tensor:
    """Return the squared distance of the margin from η (r_w − r_l), one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        rewards: r of both responses.
        eta: η, nats for a unit of the reward: it has a meaning only with the reward's scale.
    """
    return (rebel_margin(batch) - eta * rewards.contrast()) ** 2


class REBEL(Component):
    """The loss with its step size, and what counts as the reward."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"previous"})
    eta: float = Field(gt=0)
    reward: Literal["scalar", "win rate"] = "scalar"
    """A reward model's score, or P(y ≻ π_t) by a general preference."""

    @property
    def win_rates(self) -> bool:
        """Whether all responses must be compared with each other."""
        return self.reward == "win rate"

    @property
    def reads(self) -> frozenset[str]:
        """What it reads besides: an oracle's scalar rewards."""
        return frozenset({"rewards"}) if self.reward == "scalar" else frozenset()

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return rebel_loss(batch, self._rewards(batch), eta=self.eta)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return the contrast of log-ratios per pair, shape (batch,)."""
        return rebel_margin(batch)

    def _rewards(self, batch: PairBatch) -> Logps:
        return batch.rewards if self.reward == "scalar" else batch.win_rates
