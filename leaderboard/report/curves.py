"""What changes from iteration to iteration in the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaderboard.report.filed import Filed

Key = tuple[str, str]
"""A method and the run of it."""


def measured(results: Sequence[Filed]) -> list[dict[str, Any]]:
    """Return each run's results by iteration; the start is iteration 0 of all that began there.

    Each point names its result by place; a run with fewer than two has no curve.
    """
    starts = {
        one.row.label: at
        for at, one in enumerate(results)
        if one.row.iteration == 0 and one.row.label == one.row.base
    }
    found: dict[Key, dict[int, int]] = {}
    for at, one in enumerate(results):
        row = one.row
        if row.iteration and row.method:
            points = found.setdefault((row.method, row.run), {})
            if row.base in starts:
                points.setdefault(0, starts[row.base])
            points[row.iteration] = at
    known = {key: sorted(points.items()) for key, points in found.items() if len(points) > 1}
    return [
        {"method": key[0], "label": _label(key, list(known)), "points": points}
        for key, points in known.items()
    ]


def _label(key: Key, keys: Sequence[Key]) -> str:
    """Return a method's name, with the run's where the method has several."""
    method, run = key
    return method if [other[0] for other in keys].count(method) == 1 else f"{method}, {run}"
