"""Arena-Hard's verdict labels: how they are read, and what a game with one is worth.

Game 1 shows the baseline first, game 2 the model. A strong verdict counts three times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.types import Reading, Verdict

V01 = re.compile(r"\[\[([AB<>=]+)\]\]")
V2 = (V01, re.compile(r"\[([AB<>=]+)\]"))
WORTH = {"A>>B": (1.0, 3), "A>B": (1.0, 1), "A=B": (0.5, 1), "B>A": (0.0, 1), "B>>A": (0.0, 3)}
"""v0.1, by label: what the first answer wins, and how often the game counts."""
WORTH_V2 = WORTH | {
    "B=A": (0.5, 1),
    "A<B": (0.0, 1),
    "A<<B": (0.0, 3),
    "B<A": (1.0, 1),
    "B<<A": (1.0, 3),
}
Worth = Mapping[str, tuple[float, int]]
GAMES = ("#1", "#2")
"""What follows the prompt's id in a verdict's: the baseline first, the model first."""


@dataclass(frozen=True, slots=True)
class Game:
    """One game that was read."""

    prompt_id: str
    won: float
    """What the model wins: 0, ½ or 1."""
    weight: int


def labels(texts: Iterable[str]) -> list[str]:
    """Return the labels in a judge's replies, in order, by v0.1's pattern."""
    return [label for text in texts for label in V01.findall(text) if label]


def read_v01(texts: Sequence[str]) -> Reading | None:
    """Read one label, however often it is repeated; two that differ cannot be read."""
    found = set(labels(texts))
    return reading(found.pop(), WORTH) if len(found) == 1 else None


def read_v2(text: str) -> Reading | None:
    """Read the last label in double brackets, or else the last in single ones."""
    for pattern in V2:
        if found := [label for label in pattern.findall(text.upper()) if label]:
            return reading(found[-1], WORTH_V2)
    return None


def reading(label: str | None, worth: Worth) -> Reading | None:
    """Return what the first answer wins by a label; None for one that is none (`A>>A`)."""
    return Reading(worth[label][0], label) if label is not None and label in worth else None


def prompt_of(verdict: Verdict) -> str:
    """Return the id of the prompt that a verdict is about."""
    return verdict.request_id.rpartition("#")[0]


def baseline_first(verdict: Verdict) -> bool:
    """Say whether the baseline's answer was shown first."""
    return verdict.request_id.endswith(GAMES[0])


def games(verdicts: Iterable[Verdict]) -> list[Game]:
    """Return the games that were read, in their order."""
    found = []
    for verdict in verdicts:
        if verdict.reading is not None:
            won, weight = WORTH_V2[verdict.reading.label]
            ours = 1 - won if baseline_first(verdict) else won
            found.append(Game(prompt_of(verdict), ours, weight))
    return found
