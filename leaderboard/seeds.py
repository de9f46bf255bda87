"""Pools the runs of a setting that differ in their seed only into one row.

A setting is a run's configuration without its seed, whatever its method or label is called; a
result without one is left alone. Each seed counts once, however many results it has. Figures are
means over the seeds, with intervals over prompts and seeds (see `harness.statistics.seeds`); costs
are sums. A row of one seed is a row of one repeat, so that tables can mark it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from harness.types import Estimate
from leaderboard.columns import metric_bounds
from leaderboard.groups import group_key
from leaderboard.rows import Row
from leaderboard.significance import ItemsReader, answer_noise, average_scores, contributions

N = TypeVar("N", int, float)

COUNTED_ONCE = "the same run and seed as {}: counted once"
SETTING_DIGITS = 6
"""Shown digits of a setting's digest, where nothing else distinguishes two rows."""


def pool_seeds(rows: Sequence[Row], reader: ItemsReader) -> list[Row]:
    """Return rows with the seeds of each setting pooled, in the order of their first row.

    Raises:
        StoreError: a result's items are damaged.
    """
    rows_by_key: dict[object, list[Row]] = defaultdict(list)
    for position, row in enumerate(rows):
        is_poolable = row.document is None and row.setting and row.seed is not None
        key = (*group_key(row), row.base, row.iteration, row.setting)
        rows_by_key[key if is_poolable else position].append(row)
    pooled = [_pool(members, reader) for members in rows_by_key.values()]
    return _with_distinct_labels(pooled)


def _pool(rows: Sequence[Row], reader: ItemsReader) -> Row:
    first_by_seed: dict[int | None, Row] = {}
    again = []
    for row in sorted(rows, key=lambda row: len(row.label)):
        first = first_by_seed.setdefault(row.seed, row)
        if first is not row:
            again.append(f"{row.label}: {COUNTED_ONCE.format(first.label)}")
    members = sorted(first_by_seed.values(), key=lambda row: row.seed or 0)
    if len(members) < 2:
        row = members[0]
        is_seeded = row.document is None and row.seed is not None
        return replace(row, repeats=(row,) if is_seeded else (), notes=(*row.notes, *again))
    return _mean_row(members, reader, again)


def _mean_row(rows: Sequence[Row], reader: ItemsReader, notes: Sequence[str]) -> Row:
    hours: Counter[str] = Counter()
    for row in rows:
        hours.update(row.hours or {})
    return replace(
        rows[0],
        label=_label(rows),
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
        notes=(*dict.fromkeys(note for row in rows for note in row.notes), *notes),
        items=None,
        seed=None,
        repeats=tuple(rows),
    )


def _label(rows: Sequence[Row]) -> str:
    """Return what the rows' labels are without their seeds, or else the method."""
    labels = {_without_seed(row.label, row.seed) for row in rows}
    if len(labels) == 1 and (label := labels.pop()):
        return label
    row = rows[0]
    with_iteration = f"{row.method} (iteration {row.iteration})"
    return with_iteration if f"iteration {row.iteration}" in row.label else row.method


def _without_seed(name: str, seed: int | None) -> str:
    """Return a label or a run's name without its seed: `INPO (seed 1)`, `eta-0.1-seed-1`."""
    seed_text = rf"(?:seed|s)[\s=_-]*{seed}(?![\w.])"
    for pattern in (rf"\s*\({seed_text}\)", rf"[\s,;/_-]*(?<![A-Za-z0-9]){seed_text}"):
        name = re.sub(pattern, "", name, flags=re.IGNORECASE)
    return re.sub(r"\(\s*[,;]\s*", "(", name).strip(" ,;/_-")


def _with_distinct_labels(rows: Sequence[Row]) -> list[Row]:
    """Return rows of which no two of one group, iteration and base have one label."""
    counts = Counter(map(_label_key, rows))
    by_run = [
        replace(row, label=f"{row.label} ({_run_name(row)})")
        if row.repeats and counts[_label_key(row)] > 1
        else row
        for row in rows
    ]
    counts = Counter(map(_label_key, by_run))
    return [
        replace(row, label=f"{row.label} (setting {row.setting[:SETTING_DIGITS]})")
        if row.repeats and counts[_label_key(row)] > 1
        else row
        for row in by_run
    ]


def _label_key(row: Row) -> tuple[object, ...]:
    return (*group_key(row), row.document, row.label, row.base, row.iteration)


def _run_name(row: Row) -> str:
    names = {_without_seed(repeat.run, repeat.seed) for repeat in row.repeats}
    return names.pop() if len(names) == 1 else f"setting {row.setting[:SETTING_DIGITS]}"


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
    import numpy as np

    from harness.statistics import seeds
    from harness.statistics.intervals import widen_to_exact

    figures = [row.estimates[name].value for row in rows]
    scores_by_seed = [reader.scores(row, name) for row in rows]
    parts = np.array(contributions(average_scores(scores_by_seed)))
    if len(parts) < 2:
        return Estimate(sum(figures) / len(figures))
    bounds, error = metric_bounds(name), float(parts.std(ddof=1) / len(parts) ** 0.5)
    noise = answer_noise(scores_by_seed)
    estimate = seeds.mean_over_seeds(figures, error, len(parts), bounds, noise)
    return widen_to_exact(estimate, parts - parts.mean() + estimate.value, bounds)
