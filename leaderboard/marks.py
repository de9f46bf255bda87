"""Who is not told from the best, and who differs from a named baseline, by paired tests.

The tests run on per-prompt values from each result's items, over the prompts that two contestants
share; see `harness.statistics.paired`. A figure of a regression (length and style controlled) has
what each prompt contributes to it; where a result does not tell that, it has no marks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from leaderboard.rows import Row

if TYPE_CHECKING:
    from harness.statistics.paired import Differences

Items = Sequence[Mapping[str, Any]]
Values = Mapping[str, tuple[float, float]]
"""By prompt: points in the metric's unit, and what they weigh."""

ROUNDS, SEED = 1000, 0
RATINGS = ("score", "turn_1", "turn_2")
FORM = "{}_win_rate"


@dataclass(frozen=True, slots=True)
class Marks:
    """What the paired tests of one metric say; rows are known by their source."""

    top: frozenset[str] = frozenset()
    differs: frozenset[str] = frozenset()
    resolvable: float | None = None
    """The median over pairs of the difference that is found four times in five."""
    fewest: int = 0
    """Prompts that a pair shares; so is `most`."""
    most: int = 0


@dataclass
class Reader:
    """Reads items, every file once."""

    known: dict[Path, Items] = field(default_factory=dict)

    def values(self, row: Row, metric: str) -> Values:
        """Return the points and weights of a row's prompts; none where it has no file.

        Raises:
            StoreError: the file is damaged.
        """
        if row.repeats:
            return averaged([self.values(each, metric) for each in row.repeats])
        if row.items is None:
            return {}
        try:
            if row.items not in self.known:
                self.known[row.items] = json.loads(row.items.read_text(encoding="utf-8"))
            return values(self.known[row.items], metric)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{row.items} is damaged ({error}); run `harness eval` again, or remove it to go "
                "without its paired tests"
            ) from error


def marked(rows: Sequence[Row], metric: str, baseline: str | None, reader: Reader) -> Marks:
    """Compare contestants of one benchmark and judge; fewer than two are not compared.

    Args:
        rows: Of one protocol and judge, measured.
        metric: Which of their estimates.
        baseline: The label that others are said to differ from; None: nobody.
        reader: Of the rows' items.
    """
    told = [(row, reader.values(row, metric)) for row in rows if metric in row.estimates]
    told = [(row, found) for row, found in told if found]
    if len(told) < 2:
        return Marks()
    return _tested([row for row, _ in told], [found for _, found in told], metric, baseline)


def values(items: Items, metric: str) -> Values:
    """Return every prompt's points and weight; nothing where the metric is no sum over prompts."""
    found: dict[str, tuple[float, float]] = {}
    for item in items:
        points, weight = _points(item, metric)
        if weight:
            key = str(item["question"] if "question" in item else item["prompt_id"])
            before = found.get(key, (0.0, 0.0))
            found[key] = (before[0] + float(points), before[1] + float(weight))
    return found


def averaged(found: Sequence[Values]) -> Values:
    """Return every prompt's points and weight in the mean over seeds; none where one has none."""
    if not all(found):
        return {}
    gathered: dict[str, list[tuple[float, float]]] = {}
    for own in found:
        for prompt, pair in own.items():
            gathered.setdefault(prompt, []).append(pair)
    return {
        prompt: (sum(p for p, _ in pairs) / len(pairs), sum(w for _, w in pairs) / len(pairs))
        for prompt, pairs in gathered.items()
    }


def _points(item: Mapping[str, Any], metric: str) -> tuple[float, float]:
    match item:
        case {"rating": rating, "turn": turn} if metric in RATINGS:
            asked = rating is not None and metric in ("score", f"turn_{turn}")
            return (rating, 1.0) if asked else (0.0, 0.0)
        case _ if item.get(metric) is not None:
            return item[metric], 1.0
        case {"preference": preference} if metric == "win_rate":
            return (0.0, 0.0) if preference is None else (100 * preference, 1.0)
        case {"won": won, "weight": weight}:
            own = metric in ("win_rate", FORM.format(item.get("category")))
            return (100 * won, weight) if own else (0.0, 0.0)
    return 0.0, 0.0


def _tested(
    rows: Sequence[Row], found: Sequence[Values], metric: str, baseline: str | None
) -> Marks:
    import numpy as np

    from harness.statistics import paired

    told_apart = apart(rows, found, metric)
    figures = [row.estimates[metric].value for row in rows]
    top = paired.top_group(told_apart, int(np.argmax(figures)))
    labels = [row.label for row in rows]
    differs = (
        paired.unlike(told_apart, labels.index(baseline))
        if baseline in labels
        else [False] * len(rows)
    )
    pairs = np.triu_indices(len(rows), 1)
    errors, shared = told_apart.error[pairs], told_apart.shared[pairs]
    told = errors[errors > 0]
    return Marks(
        frozenset(row.source for row, mark in zip(rows, top, strict=True) if mark),
        frozenset(row.source for row, mark in zip(rows, differs, strict=True) if mark),
        paired.resolvable(float(np.median(told))) if len(told) else None,
        int(shared.min()),
        int(shared.max()),
    )


def apart(rows: Sequence[Row], found: Sequence[Values], metric: str) -> Differences:
    """Compare everybody with everybody over shared prompts, and over seeds where there are some."""
    from harness.statistics import paired
    from harness.statistics.repeats import Repeated

    by_seed = [[r.estimates[metric].value for r in row.repeats or (row,)] for row in rows]
    repeated = Repeated.of(by_seed) if any(row.repeats for row in rows) else None
    return paired.differences(_played(found), seed=SEED, rounds=ROUNDS, repeated=repeated)


def _played(found: Sequence[Values]) -> Any:
    import numpy as np

    from harness.statistics.paired import Played

    prompts = list(dict.fromkeys(prompt for values in found for prompt in values))
    table = [[values.get(prompt, (0.0, 0.0)) for values in found] for prompt in prompts]
    array = np.array(table, dtype=np.float64)
    return Played(array[:, :, 0], array[:, :, 1])
