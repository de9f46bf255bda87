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
    from harness.statistics.seeds import SeedVariance


Items = Sequence[Item]
PromptScores = Mapping[str, tuple[float, float]]
"""By prompt: points in the metric's unit, and what they weigh."""

ROUNDS, SEED = 1000, 0
SEED_SPREAD = 0.1
"""Standard deviation between training seeds, in logits of the win rate, that a note assumes."""
CATEGORY_METRIC = "{}_win_rate"


@dataclass(frozen=True, slots=True)
class SignificanceMarks:
    """The outcome of the paired tests of one metric; rows are known by their source."""

    top: frozenset[str] = frozenset()
    """Not significantly different from the best."""
    differing: frozenset[str] = frozenset()
    """Significantly different from the baseline."""
    detectable: float | None = None
    """The minimum detectable difference at 80 % power of the tests between all pairs, for the pair
    with the median standard error; None where no pair has one."""
    detectable_from_baseline: float | None = None
    """The same for the tests against the baseline."""
    identical_marked: float | None = None
    """How often two runs of one method would differ significantly, if they were compared alone over
    as many prompts and training seeds varied by `SEED_SPREAD`; None where seeds are pooled."""
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
    return _test_pairs([row for row, _ in scored], metric, baseline, reader)


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
    rows: Sequence[Row], metric: str, baseline: str | None, reader: ItemsReader
) -> SignificanceMarks:
    import numpy as np

    from harness.statistics import paired, power

    differences = paired_differences(rows, metric, reader)
    figures = [row.estimates[metric].value for row in rows]
    top = paired.top_group(differences, int(np.argmax(figures)))
    labels = [row.label for row in rows]
    differing = (
        paired.differs_from_baseline(differences, labels.index(baseline))
        if baseline in labels
        else [False] * len(rows)
    )
    pairs = np.triu(np.ones_like(differences.error, dtype=bool), 1)
    shared = differences.shared[pairs]
    against = pairs & False
    if baseline in labels:
        against[labels.index(baseline)] = True
        np.fill_diagonal(against, val=False)
    return SignificanceMarks(
        frozenset(row.source for row, mark in zip(rows, top, strict=True) if mark),
        frozenset(row.source for row, mark in zip(rows, differing, strict=True) if mark),
        detectable=power.median_detectable(differences, pairs),
        detectable_from_baseline=power.median_detectable(differences, against),
        identical_marked=_identical_marked(rows, differences, float(np.median(figures)), metric),
        fewest_prompts=int(shared.min()),
        most_prompts=int(shared.max()),
    )


def _identical_marked(
    rows: Sequence[Row], differences: Differences, figure: float, metric: str
) -> float | None:
    import numpy as np

    from harness.statistics.power import identical_marked

    is_single_seed = any(row.run or row.seed is not None for row in rows)
    errors = differences.error[np.triu(differences.is_tested, 1)]
    positive = errors[errors > 0]
    if differences.seed_variance is not None or not is_single_seed or not len(positive):
        return None
    return identical_marked(
        float(np.median(positive)),
        float(np.median(differences.degrees_of_freedom)),
        figure,
        SEED_SPREAD,
        columns.metric_bounds(metric),
    )


def paired_differences(rows: Sequence[Row], metric: str, reader: ItemsReader) -> Differences:
    """Return the differences of all pairs over shared prompts, and over seeds if there are any."""
    from harness.statistics import paired

    totals = paired.PromptTotals.of([reader.scores(row, metric) for row in rows])
    variance = _seed_variance(rows, metric, reader)
    return paired.paired_differences(totals, seed=SEED, rounds=ROUNDS, seed_variance=variance)


def _seed_variance(rows: Sequence[Row], metric: str, reader: ItemsReader) -> SeedVariance | None:
    """Return the variance between seeds; None where no row has several."""
    from harness.statistics.seeds import SeedVariance

    if all(len(row.repeats) < 2 for row in rows):
        return None
    by_seed = [[r.estimates[metric].value for r in row.repeats or (row,)] for row in rows]
    is_seeded = [bool(row.repeats) or row.seed is not None for row in rows]
    noise = [answer_noise([reader.scores(r, metric) for r in row.repeats]) for row in rows]
    return SeedVariance.of(by_seed, is_seeded, columns.metric_bounds(metric), noise)


def answer_noise(scores_by_seed: Sequence[PromptScores]) -> float:
    """Return the part of a mean over seeds' variance that single answers' noise is.

    It is estimated on the prompts that all seeds share; see `harness.statistics.seeds.noise_of`.
    """
    import numpy as np

    from harness.statistics.seeds import noise_of

    if len(scores_by_seed) < 2:
        return 0.0
    shared = [p for p in scores_by_seed[0] if all(p in scores for scores in scores_by_seed)]
    by_seed = [contributions({p: own[p] for p in shared}) for own in scores_by_seed]
    return noise_of(np.array(by_seed)) if all(by_seed) else 0.0


def contributions(values: PromptScores) -> list[float]:
    """Return what each prompt contributes to a ratio of sums, by linearisation."""
    n = len(values)
    top, bottom = (sum(pair[side] for pair in values.values()) for side in (0, 1))
    if not bottom:
        return []
    ratio = top / bottom
    return [ratio + (points - ratio * weight) * n / bottom for points, weight in values.values()]


def with_differences(group: Group, baseline: str, reader: ItemsReader) -> Group:
    """Return a group whose measured rows hold their differences from the baseline as estimates.

    A metric without per-prompt values has no difference; nor has the baseline itself.

    Raises:
        StoreError: a result's items are damaged.
    """
    matches = [row for row in group.rows if row.label == baseline and row.document is None]
    if not matches:
        return group
    base, measured = matches[0], [row for row in group.rows if row.document is None]
    differences: dict[str, dict[str, Estimate]] = {}
    for metric in base.estimates:
        for source, estimate in _differences_from(base, measured, metric, reader).items():
            differences.setdefault(source, {})[columns.difference_name(metric)] = estimate
    return replace(
        group,
        rows=tuple(
            replace(row, estimates={**row.estimates, **differences.get(row.source, {})})
            if row.document is None
            else row
            for row in group.rows
        ),
    )


def _differences_from(
    base: Row, rows: Sequence[Row], metric: str, reader: ItemsReader
) -> dict[str, Estimate]:
    """Return each row's difference from the base over shared prompts, by source, where known."""
    scored = [(row, reader.scores(row, metric)) for row in rows if metric in row.estimates]
    scored = [(row, scores) for row, scores in scored if scores]
    if base not in [row for row, _ in scored]:
        return {}
    members = [row for row, _ in scored]
    comparison = paired_differences(members, metric, reader)
    column = members.index(base)
    return {
        row.source: _difference(comparison, i, column, metric)
        for i, row in enumerate(members)
        if row is not base and comparison.is_tested[i, column]
    }


def _difference(comparison: Differences, i: int, j: int, metric: str) -> Estimate:
    """Return a difference with its t interval; with an exact one where no verdict differs."""
    import numpy as np

    from harness.statistics.intervals import exact_bounds, t_critical

    value, error = float(comparison.value[i, j]), float(comparison.error[i, j])
    half_width = error * float(t_critical(comparison.degrees_of_freedom[i, j]))
    low, high = columns.metric_bounds(metric)
    reach = high - low
    low, high = max(-reach, value - half_width), min(reach, value + half_width)
    if error == 0 and value in (-reach, 0.0, reach):  # as of equal verdicts, however few
        equal = np.full(int(comparison.shared[i, j]), (value + reach) / (2 * reach))
        low, high = (2 * reach * end - reach for end in exact_bounds(equal))
    return Estimate(value, low, high, error)
