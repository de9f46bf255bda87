"""An oracle whose preferences a function defines exactly."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from harness.core.config import Component
from harness.protocols import Advance
from harness.types import Comparison


class RuleOracle(Component):
    """Calls `rule(prompt, first, second)` for P(first preferred)."""

    accelerators: ClassVar[int] = 0
    rule: Callable[[str, str, str], float]
    transitive: bool = False

    def compare(self, comparisons: Sequence[Comparison], advance: Advance) -> list[float]:
        """Return P(first preferred to second), in [0, 1], for each comparison."""
        probabilities = [self.rule(c.prompt.text, c.first, c.second) for c in comparisons]
        advance(len(probabilities))
        return probabilities
