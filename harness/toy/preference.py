"""The toy world's exact preference: right answers first, then a cycle of styles, and length.

P(y ≻ y' | x) = σ(correctness · Δcorrect + style · cycle(y, y') + length · clip(Δlength, ±span))

It is not transitive: plain beats warm, warm beats bold, bold beats plain. The pull towards length
is what an honest evaluation must control for.
"""

import math

from harness.config import Component
from harness.toy.world import STYLES, Reading, read


class ToyPreference(Component):
    """P(first preferred), with the weights of its three parts (in nats)."""

    correctness: float = 4.0
    style: float = 1.2
    length: float = 0.25
    span: int = 4
    """Words beyond which more length wins nothing more."""

    def __call__(self, prompt: str, first: str, second: str) -> float:
        """Return P(first preferred to second), in (0, 1).

        Raises:
            ValueError: the prompt is no instruction of the toy world.
        """
        a, b = read(prompt, first), read(prompt, second)
        difference = max(-self.span, min(self.span, a.length - b.length))
        logit = (
            self.correctness * (a.correct - b.correct)
            + self.style * cycle(a, b)
            + self.length * difference
        )
        return 1 / (1 + math.exp(-logit))


def cycle(a: Reading, b: Reading) -> int:
    """Return 1 where a's style beats b's, -1 where it loses, else 0; no style loses to any."""
    if a.style is None or b.style is None:
        return (a.style is not None) - (b.style is not None)
    step = (STYLES.index(b.style) - STYLES.index(a.style)) % len(STYLES)
    return (0, 1, -1)[step]
