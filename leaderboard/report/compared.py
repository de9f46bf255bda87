"""Method against method: paired differences over the prompts that two of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.statistics import paired
from harness.statistics.bootstrap import student
from leaderboard.marks import ROUNDS, SEED, Values, values
from leaderboard.report.filed import Filed


def compared(results: Sequence[Filed], metric: str) -> dict[str, Any] | None:
    """Return every pair's difference, interval, Holm-corrected p and shared prompts.

    Row less column, in the metric's unit; `at` says which results the rows and columns are, `top`
    which of them are not told from the highest. None where fewer than two results have per-prompt
    values of the metric.
    """
    told = [(at, values(one.items, metric)) for at, one in enumerate(results)]
    told = [(at, found) for at, found in told if found and metric in results[at].row.estimates]
    if len(told) < 2:
        return None
    at = [place for place, _ in told]
    best = max(range(len(at)), key=lambda i: results[at[i]].row.estimates[metric].value)
    found = _tested([values for _, values in told])
    top = [place for place, p in zip(at, found["p"][best], strict=True) if p > paired.FAMILY]
    return {"metric": metric, "at": at, "top": top, **found}


def _tested(found: Sequence[Values]) -> dict[str, Any]:
    prompts = list(dict.fromkeys(prompt for one in found for prompt in one))
    table = np.array([[one.get(p, (0.0, 0.0)) for one in found] for p in prompts])
    apart = paired.differences(
        paired.Played(table[:, :, 0], table[:, :, 1]), seed=SEED, rounds=ROUNDS
    )
    upper = np.triu_indices(len(found), 1)
    p = np.ones_like(apart.p)
    p[upper] = paired.holm(apart.p[upper])
    p = np.minimum(p, p.T)
    least = max(1, int(apart.shared[upper].min()) - 1)
    errors = apart.error[upper]
    sure = errors[errors > 0]
    return {
        "value": _plain(apart.value),
        "reach": _plain(apart.error * student(least)),
        "p": _plain(p),
        "shared": [[int(n) for n in row] for row in apart.shared],
        "resolvable": paired.resolvable(float(np.median(sure))) if len(sure) else None,
    }


def _plain(table: Any) -> list[list[float | None]]:
    """Return a table as lists; what is not known is None."""
    return [[float(x) if x == x else None for x in row] for row in table]
