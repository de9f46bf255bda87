"""WB-Score: ratings from 1 to 10, over all conversations and by task group.

`wb_score` is the leaderboard's -80 to 100: (mean rating - 5) x 20, over all ratings. The groups,
and their weighted mean `task_macro`, leave out answers that are empty or cut, as upstream; a
conversation counts in every group of its tags. What differs: intervals, by conversation; of
several ratings of a conversation the last counts; and a rating outside 1 to 10 is unparsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from harness.benchmarks.wildbench import data
from harness.core.config import Component
from harness.errors import CheckError
from harness.statistics.bootstrap import interval, small_sample_note
from harness.types import Estimate, Graded, Score

LOWEST, HIGHEST, MIDDLE = 1, 10, 5
SCALE = 20
"""Points of the leaderboard by point of a rating."""
Groups = Mapping[str, Sequence[str]]
"""The task groups by conversation; empty where the protocol data is missing."""


class WildBenchScoring(Component):
    """How intervals are computed."""

    seed: int = 0
    rounds: int = Field(default=2000, ge=2)


def score_ratings(graded: Graded, groups: Groups, scoring: WildBenchScoring) -> Score:
    """Return WB-Score of a contestant.

    Raises:
        CheckError: no rating could be parsed.
    """
    last = {verdict.request_id: verdict for verdict in graded.verdicts}
    texts = {answer.prompt_id: answer.text.strip() for answer in graded.answers}
    ratings = {key: v.parsed.value for key, v in last.items() if v.parsed}
    if not ratings:
        raise CheckError(f"no rating of {graded.label} could be parsed: there is no score")
    figures = upstream_figures(ratings, texts, groups)
    counts = {
        "asked": len(last),
        "judged": len(ratings),
        "unparsed": len(last) - len(ratings),
        "repeats": len(graded.verdicts) - len(last),
        "empty_or_cut": sum(key in texts and not data.is_counted(texts[key]) for key in ratings),
    }
    items = _items(ratings, texts, groups)
    return Score(
        estimates=_estimates(items, figures, scoring),
        counts=counts,
        items=tuple(items),
        notes=(*graded.notes, *_notes(counts, figures)),
        details={"upstream": figures},
    )


def upstream_figures(
    ratings: Mapping[str, float], texts: Mapping[str, str], groups: Groups
) -> dict[str, Any]:
    """Return the row that upstream's table has, computed in its order of operations."""
    mean = sum(ratings.values()) / len(ratings)
    figures: dict[str, Any] = {"score": mean, "adjusted_score": (mean - MIDDLE) * 2}
    figures["total"] = len(ratings)
    counted = [key for key in ratings if data.is_counted(texts.get(key, ""))]
    if counted:
        figures["avg_len"] = sum(len(texts[key]) for key in counted) / len(counted)
    by_group: dict[str, list[float]] = {}
    for key in counted:
        for group in groups.get(key, ()):
            by_group.setdefault(group, []).append(ratings[key])
    if by_group:
        means = {g: (sum(values) / len(values) - MIDDLE) * 2 for g, values in by_group.items()}
        figures["task_categorized_scores"] = means
        figures["task_macro_score"] = data.macro(means)
    return figures


def macro_contributions(
    values: Mapping[str, float], groups: Groups, counted: frozenset[str]
) -> dict[str, float]:
    """Return each conversation's contribution to the weighted mean over groups.

    The mean of the contributions is the weighted mean, and their variance is its variance to first
    order when conversations are resampled. `counted` are the conversations that count in groups.
    """
    by_group: dict[str, list[str]] = {}
    for key in values:
        for group in groups.get(key, ()) if key in counted else ():
            by_group.setdefault(group, []).append(key)
    means = {g: sum(values[key] for key in keys) / len(keys) for g, keys in by_group.items()}
    contributions = dict.fromkeys(values, data.macro(means))
    total = sum(data.WEIGHTS.values())
    for group, keys in by_group.items():
        factor = data.WEIGHTS[group] / total * len(values) / len(keys)
        for key in keys:
            contributions[key] += factor * (values[key] - means[group])
    return contributions


def group_metric(group: str) -> str:
    """Return a task group's name as a metric."""
    return "_".join(group.lower().replace("&", "and").replace("/", " ").split())


def _items(
    ratings: Mapping[str, float], texts: Mapping[str, str], groups: Groups
) -> list[dict[str, Any]]:
    points = {key: SCALE * (rating - MIDDLE) for key, rating in ratings.items()}
    counted = frozenset(key for key in ratings if data.is_counted(texts.get(key, "")))
    macro = macro_contributions(points, groups, counted) if groups else {}
    return [
        {
            "prompt_id": key,
            "rating": rating,
            "wb_score": points[key],
            "length": len(texts[key]) if key in texts else None,
            **({"task_macro": macro[key]} if macro else {}),
            **{group_metric(g): points[key] for g in groups.get(key, ()) if key in counted},
        }
        for key, rating in ratings.items()
    ]


def _estimates(
    items: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], scoring: WildBenchScoring
) -> dict[str, Estimate]:
    names = ["wb_score", "task_macro", *map(group_metric, data.WEIGHTS)]
    values = {name: [item[name] for item in items if name in item] for name in names}
    estimates = {
        name: interval(points, seed=scoring.seed, rounds=scoring.rounds)
        for name, points in values.items()
        if points
    }
    exact = {"wb_score": 10 * figures["adjusted_score"]}
    if "task_macro_score" in figures:
        exact["task_macro"] = 10 * figures["task_macro_score"]
    return estimates | {k: replace(estimates[k], value=v) for k, v in exact.items()}


def _notes(counts: Mapping[str, int], figures: Mapping[str, Any]) -> list[str]:
    notes = {
        f"{counts['unparsed']} of {counts['asked']} ratings could not be parsed and are excluded": (
            counts["unparsed"]
        ),
        f"{counts['repeats']} ratings are repeated: the last of each conversation counts": (
            counts["repeats"]
        ),
        f"{counts['empty_or_cut']} answers are empty or cut: their ratings count in wb_score, not "
        "in groups and lengths": counts["empty_or_cut"],
        "no task groups: the conversations' tags are not in the protocol data (`harness assets "
        "pull wildbench`)": "task_macro_score" not in figures,
    }
    applicable = [note for note, applies in notes.items() if applies]
    return [*applicable, *small_sample_note(counts["judged"], "conversations")]
