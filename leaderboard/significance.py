"""Paired tests between methods: the top group, differences from a baseline, and their intervals.

The tests run on the per-prompt values of each result, over the prompts that two contestants share;
see `harness.statistics.paired`. For a figure of a regression (length and style control) these are
each prompt's contributions; a result without them has no tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.workspace import Item, damaged_items, read_items
from harness.types import Estimate
from leaderboard import columns
from leaderboard.groups import Group
from leaderboard.rows import Row

if TYPE_CHECKING:
    from harness.statistics.paired import Differences


Items = Sequence[Item]
PromptScores = Mapping[str, tuple[float, float]]
"""By prompt: points in the metric's unit, and what they weigh."""

ROUNDS, SEED = 1000, 0
CATEGORY_METRIC = "{}_win_rate"


@dataclass(frozen=True, slots=True)
class SignificanceMarks:
    """The outcome of the paired tests of one metric; rows are known by their source."""

    top: frozenset[str] = frozenset()
    """Not significantly different from the best."""
    differing: frozenset[str] = frozenset()
    """Significantly different from the baseline."""
    detectable: float | None = None
    """The minimum detectable difference at 80 % power, median over pairs."""
    fewest_prompts: int = 0
    """Fewest prompts that a pair shares; `most_prompts` likewise."""
    most_prompts: int = 0


@dataclass
class ItemsReader:
    """Reads per-prompt values, each file once."""

    cache: dict[Path, Items] = field(default_factory=dict)

    def scores(self, row: Row, metric: str) -> PromptScores:
        """Return the points and weights of a row's prompts; empty where it has no file.

        Raises:
            StoreError: the file is damaged.
        """
        if row.repeats:
            return average_scores([self.scores(repeat, metric) for repeat in row.repeats])
        if row.items is None:
            return {}
        try:
            if row.items not in self.cache:
                self.cache[row.items] = read_items(row.items)
            return prompt_scores(self.cache[row.items], metric)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise damaged_items(row.items, error) from error


def compare_rows(
    rows: Sequence[Row], metric: str, baseline: str | None, reader: ItemsReader
) -> SignificanceMarks:
    """Test all pairs of rows; fewer than two with per-prompt values have no marks.

    Args:
        rows: Measured rows of one protocol and judge.
        metric: The name of one of their estimates.
        baseline: The label that the others are compared with; None: no baseline.
        reader: Reads the rows' per-prompt values.
    """
    scored = [(row, reader.scores(row, metric)) for row in rows if metric in row.estimates]
    scored = [(row, scores) for row, scores in scored if scores]
    if len(scored) < 2:
        return SignificanceMarks()
    return _test_pairs(
        [row for row, _ in scored], [scores for _, scores in scored], metric, baseline
    )


def prompt_scores(items: Items, metric: str) -> PromptScores:
    """Return each prompt's points and weight; empty where the items do not hold the metric."""
    scores: dict[str, tuple[float, float]] = {}
    for item in items:
        points, weight = _points(item, metric)
        if weight:
            key = str(item["question"] if "question" in item else item["prompt_id"])
            previous = scores.get(key, (0.0, 0.0))
            scores[key] = (previous[0] + float(points), previous[1] + float(weight))
    return scores


def average_scores(scores_by_seed: Sequence[PromptScores]) -> PromptScores:
    """Return each prompt's mean points and weight over seeds; empty where a seed has none."""
    if not all(scores_by_seed):
        return {}
    pairs_by_prompt: dict[str, list[tuple[float, float]]] = {}
    for scores in scores_by_seed:
        for prompt, pair in scores.items():
            pairs_by_prompt.setdefault(prompt, []).append(pair)
    return {
        prompt: (sum(p for p, _ in pairs) / len(pairs), sum(w for _, w in pairs) / len(pairs))
        for prompt, pairs in pairs_by_prompt.items()
    }


def _points(item: Mapping[str, Any], metric: str) -> tuple[float, float]:
    match item:
        case {"rating": rating, "turn": turn} if metric in columns.RATINGS:
            is_rated = rating is not None and metric in ("score", f"turn_{turn}")
            return (rating, 1.0) if is_rated else (0.0, 0.0)
        case _ if item.get(metric) is not None:
            return item[metric], 1.0
        case {"preference": preference} if metric == "win_rate":
            return (0.0, 0.0) if preference is None else (100 * preference, 1.0)
        case {"won": won, "weight": weight}:
            is_counted = metric in ("win_rate", CATEGORY_METRIC.format(item.get("category")))
            return (100 * won, weight) if is_counted else (0.0, 0.0)
    return 0.0, 0.0


def _test_pairs(
    rows: Sequence[Row], scores_by_row: Sequence[PromptScores], metric: str, baseline: str | None
) -> SignificanceMarks:
    import numpy as np

    from harness.statistics import paired

    differences = paired_differences(rows, scores_by_row, metric)
    figures = [row.estimates[metric].value for row in rows]
    top = paired.top_group(differences, int(np.argmax(figures)))
    labels = [row.label for row in rows]
    differing = (
        paired.differs_from_baseline(differences, labels.index(baseline))
        if baseline in labels
        else [False] * len(rows)
    )
    pairs = np.triu_indices(len(rows), 1)
    errors, shared = differences.error[pairs], differences.shared[pairs]
    positive_errors = errors[errors > 0]
    return SignificanceMarks(
        frozenset(row.source for row, mark in zip(rows, top, strict=True) if mark),
        frozenset(row.source for row, mark in zip(rows, differing, strict=True) if mark),
        paired.minimum_detectable_difference(float(np.median(positive_errors)))
        if len(positive_errors)
        else None,
        int(shared.min()),
        int(shared.max()),
    )


def paired_differences(
    rows: Sequence[Row], scores_by_row: Sequence[PromptScores], metric: str
) -> Differences:
    """Return the differences of all pairs over shared prompts, and over seeds if there are any."""
    from harness.statistics import paired
    from harness.statistics.seeds import SeedVariance

    by_seed = [[r.estimates[metric].value for r in row.repeats or (row,)] for row in rows]
    repeated = SeedVariance.of(by_seed) if any(row.repeats for row in rows) else None
    totals = paired.PromptTotals.of(scores_by_row)
    return paired.paired_differences(totals, seed=SEED, rounds=ROUNDS, seed_variance=repeated)


def with_differences(group: Group, baseline: str, reader: ItemsReader) -> Group:
    """Return a group whose measured rows hold their differences from the baseline as estimates.

    A metric without per-prompt values has no difference; nor has the baseline itself.

    Raises:
        StoreError: a result's items are damaged.
    """
    matches = [row for row in group.rows if row.label == baseline and row.document is None]
    if not matches:
        return group
    return replace(
        group, rows=tuple(_add_differences(row, matches[0], reader) for row in group.rows)
    )


def _add_differences(row: Row, other: Row, reader: ItemsReader) -> Row:
    if row is other or row.document is not None:
        return row
    shared = [name for name in row.estimates if name in other.estimates]
    differences = {
        columns.difference_name(name): _difference(row, other, name, reader) for name in shared
    }
    known = {name: estimate for name, estimate in differences.items() if estimate is not None}
    return replace(row, estimates={**row.estimates, **known})


def _difference(row: Row, other: Row, metric: str, reader: ItemsReader) -> Estimate | None:
    """Return the first minus the second over shared prompts; None where that is not known."""
    from harness.statistics.intervals import t_critical

    rows: Sequence[Row] = (row, other)
    values = [reader.scores(side, metric) for side in rows]
    if not all(values):
        return None
    differences = paired_differences(rows, values, metric)
    value, error = float(differences.value[0, 1]), float(differences.error[0, 1])
    if not error >= 0:
        return None
    half_width = error * float(t_critical(differences.degrees_of_freedom[0, 1]))
    return Estimate(value, value - half_width, value + half_width, error)
