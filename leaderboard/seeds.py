"""Pools the runs of a setting that differ in their seed only into one row.

Its figures are means over the seeds, with intervals over prompts and seeds (see
`harness.statistics.seeds`); costs are sums.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from harness.types import Estimate
from leaderboard.groups import group_key
from leaderboard.rows import Row
from leaderboard.significance import ItemsReader, PromptScores

N = TypeVar("N", int, float)


def pool_seeds(rows: Sequence[Row], reader: ItemsReader) -> list[Row]:
    """Return rows with the seeds of each setting pooled, in the order of their first row.

    Raises:
        StoreError: a result's items are damaged.
    """
    rows_by_key: dict[object, list[Row]] = defaultdict(list)
    for position, row in enumerate(rows):
        is_poolable = row.document is None and row.setting and row.seed is not None
        key = (*group_key(row), row.method, row.base, row.iteration, row.setting)
        rows_by_key[key if is_poolable else position].append(row)
    return [_pool(members, reader) for members in rows_by_key.values()]


def _pool(rows: Sequence[Row], reader: ItemsReader) -> Row:
    if len({row.seed for row in rows}) < 2:
        return rows[0]
    hours: Counter[str] = Counter()
    for row in rows:
        hours.update(row.hours or {})
    return replace(
        rows[0],
        label=_label(rows[0]),
        estimates=_estimates(rows, reader),
        prompt_count=_sum(rows, lambda row: row.prompt_count),
        judged_count=_sum(rows, lambda row: row.judged_count),
        mean_length=_mean(rows, lambda row: row.mean_length),
        tokens=_mean(rows, lambda row: row.tokens),
        truncated=_mean(rows, lambda row: row.truncated),
        dollars=_sum(rows, lambda row: row.dollars),
        hours=None if any(row.hours is None for row in rows) else dict(hours),
        run=", ".join(row.run for row in rows),
        source=", ".join(row.source for row in rows),
        notes=tuple(dict.fromkeys(note for row in rows for note in row.notes)),
        items=None,
        seed=None,
        repeats=tuple(sorted(rows, key=lambda row: row.seed or 0)),
    )


def _label(row: Row) -> str:
    """Return the label without its seed."""
    plain = f"{row.method} (iteration {row.iteration})"
    return plain if f"iteration {row.iteration}" in row.label else row.method


def _sum(rows: Sequence[Row], value_of: Callable[[Row], N | None]) -> N | None:
    """Return the rows' sum; None where a value is not known."""
    total: N | None = None
    for row in rows:
        if (value := value_of(row)) is None:
            return None
        total = value if total is None else total + value
    return total


def _mean(rows: Sequence[Row], value_of: Callable[[Row], float | None]) -> float | None:
    """Return the rows' mean; None where a value is not known."""
    total = _sum(rows, value_of)
    return None if total is None else total / len(rows)


def _estimates(rows: Sequence[Row], reader: ItemsReader) -> dict[str, Estimate]:
    """Return the mean of each metric that every seed has."""
    names = [name for name in rows[0].estimates if all(name in r.estimates for r in rows)]
    return {name: _estimate(rows, name, reader) for name in names}


def _estimate(rows: Sequence[Row], name: str, reader: ItemsReader) -> Estimate:
    """Return a metric's mean; without an interval where there are no per-prompt values."""
    from harness.statistics import seeds

    figures = [row.estimates[name].value for row in rows]
    scores = reader.scores(replace(rows[0], repeats=tuple(rows)), name)
    if len(scores) < 2:
        return Estimate(sum(figures) / len(figures))
    return seeds.mean_over_seeds(figures, _error(scores), len(scores))


def _error(values: PromptScores) -> float:
    """Return the standard error of a ratio of sums over prompts, by linearization."""
    n = len(values)
    top, bottom = (sum(pair[side] for pair in values.values()) for side in (0, 1))
    parts = [(points - top / bottom * weight) * n / bottom for points, weight in values.values()]
    return float((sum(part**2 for part in parts) / (n - 1) / n) ** 0.5)
