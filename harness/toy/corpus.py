"""The text that the toy policy is first fine-tuned on: answers right half of the time."""

import random

from harness.config import Component
from harness.seeds import derive
from harness.toy import world


class ToyTexts(Component):
    """Instructions with answers of varying correctness, style and length."""

    count: int
    correct: float = 0.5
    """Share of right answers."""
    seed: int = 0

    def examples(self) -> list[tuple[str, str]]:
        """Return (instruction, answer) pairs; none of the held-out instructions is among them."""
        rng = random.Random(derive(self.seed, "toy texts"))
        excluded = set(world.held_out())
        found: list[tuple[str, str]] = []
        while len(found) < self.count:
            text = world.instruction(rng)
            if text not in excluded:
                found.append((text, world.answer(text, rng, correct=self.correct)))
        return found

    def words(self) -> list[str]:
        """Return every word that the texts can hold."""
        return list(world.WORDS)
