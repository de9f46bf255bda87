"""An oracle that prefers the shorter of two responses."""

from collections.abc import Sequence

from harness.core.config import Component
from harness.protocols import Advance
from harness.types import Comparison


class Shorter(Component):
    """P(first preferred) falls with the first response's share of the words."""

    transitive: bool = True

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return one probability per comparison."""
        advance(len(comparisons))
        return [self._prefers(c) for c in comparisons]

    def _prefers(self, comparison: Comparison) -> float:
        first, second = (len(t.split()) for t in (comparison.first, comparison.second))
        return second / (first + second) if first + second else 0.5
