"""Arena-Hard's verdict labels: how they are parsed, and how many points a game is worth.

Game 1 shows the baseline's answer first, game 2 the model's. A strong verdict counts three times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.types import ParsedVerdict, Verdict

V01_PATTERN = re.compile(r"\[\[([AB<>=]+)\]\]")
V2_PATTERNS = (V01_PATTERN, re.compile(r"\[([AB<>=]+)\]"))
LABEL_SCORES = {
    "A>>B": (1.0, 3),
    "A>B": (1.0, 1),
    "A=B": (0.5, 1),
    "B>A": (0.0, 1),
    "B>>A": (0.0, 3),
}
"""v0.1, by label: the points of the first answer, and the weight of the game."""
LABEL_SCORES_V2 = LABEL_SCORES | {
    "B=A": (0.5, 1),
    "A<B": (0.0, 1),
    "A<<B": (0.0, 3),
    "B<A": (1.0, 1),
    "B<<A": (1.0, 3),
}
LabelScores = Mapping[str, tuple[float, int]]
GAME_SUFFIXES = ("#1", "#2")
"""Suffixes of a verdict's id after the prompt's: baseline first, model first."""


@dataclass(frozen=True, slots=True)
class ParsedGame:
    """A game whose verdict could be parsed."""

    prompt_id: str
    won: float
    """The model's points: 0, ½ or 1."""
    weight: int


def find_labels(texts: Iterable[str]) -> list[str]:
    """Return the labels in a judge's replies, in order, by v0.1's pattern."""
    return [label for text in texts for label in V01_PATTERN.findall(text) if label]


def parse_v01(texts: Sequence[str]) -> ParsedVerdict | None:
    """Return the only label, however often it is repeated; different labels are unparsable."""
    distinct = set(find_labels(texts))
    return parse_label(distinct.pop(), LABEL_SCORES) if len(distinct) == 1 else None


def parse_v2(text: str) -> ParsedVerdict | None:
    """Return the last label in double brackets, or else the last one in single brackets."""
    for pattern in V2_PATTERNS:
        if matches := [label for label in pattern.findall(text.upper()) if label]:
            return parse_label(matches[-1], LABEL_SCORES_V2)
    return None


def parse_label(label: str | None, label_scores: LabelScores) -> ParsedVerdict | None:
    """Return the points of the first answer; None for a label that does not exist (`A>>A`)."""
    return (
        ParsedVerdict(label_scores[label][0], label)
        if label is not None and label in label_scores
        else None
    )


def prompt_id_of(verdict: Verdict) -> str:
    """Return the id of the prompt that a verdict is about."""
    return verdict.request_id.rpartition("#")[0]


def is_baseline_first(verdict: Verdict) -> bool:
    """Say whether the baseline's answer was shown first."""
    return verdict.request_id.endswith(GAME_SUFFIXES[0])


def parse_games(verdicts: Iterable[Verdict]) -> list[ParsedGame]:
    """Return the games with a parsed verdict, in their order."""
    parsed = []
    for verdict in verdicts:
        if verdict.parsed is not None:
            won, weight = LABEL_SCORES_V2[verdict.parsed.label]
            ours = 1 - won if is_baseline_first(verdict) else won
            parsed.append(ParsedGame(prompt_id_of(verdict), ours, weight))
    return parsed
