"""How far two judges agree on the same answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from leaderboard.report.filed import Filed
from leaderboard.report.order import wilson
from leaderboard.report.seen import Seen

Winners = Mapping[str, str]
"""By prompt: who wins."""


def winners(comparisons: Sequence[Seen]) -> Winners:
    """Return who wins each prompt that could be read; ratings have no winner."""
    return {one.prompt_id: one.winner for one in comparisons if one.winner}


def rivals(results: Sequence[Filed]) -> list[tuple[int, int]]:
    """Return the pairs of results, by place, in which two judges grade the same answers."""
    return [
        (i, j)
        for (i, one), (j, other) in combinations(enumerate(results), 2)
        if one.row.benchmark == other.row.benchmark
        and one.row.judge != other.row.judge
        and one.result.get("answers")
        and one.result.get("answers_sha256") == other.result.get("answers_sha256")
    ]


def agreement(one: Winners, other: Winners) -> dict[str, Any] | None:
    """Return how often two judges name the same winner, and Cohen's kappa; None: none shared."""
    shared = [(one[key], other[key]) for key in one if key in other]
    if not shared:
        return None
    same = sum(a == b for a, b in shared)
    return {"same": wilson(same, len(shared)), "kappa": kappa(shared)}


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa (1960): agreement beyond chance; None where chance explains all."""
    count = len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[name] * second[name] for name in first) / count**2
    observed = sum(a == b for a, b in pairs) / count
    return None if chance == 1 else (observed - chance) / (1 - chance)


def disagreed(one: Winners, other: Winners) -> set[str]:
    """Return the prompts on which two judges name different winners."""
    return {key for key in one if key in other and one[key] != other[key]}
