"""A hinge loss on DPO's margin (SLiC, arXiv 2305.10425)."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor, PairBatch


class Hinge(Component):
    """max(0, 1 - β (log-ratio of the chosen - log-ratio of the rejected))."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference"})
    win_rates: ClassVar[bool] = False
    beta: float = Field(gt=0)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return (1 - self.margin(batch)).clamp(min=0)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return β times the contrast, shape (batch,)."""
        reference = batch.anchors["reference"]
        chosen = batch.policy.chosen - reference.chosen
        return self.beta * (chosen - (batch.policy.rejected - reference.rejected))
