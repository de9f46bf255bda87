"""What changes from iteration to iteration: figures of the results, means of the training logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from leaderboard.report.filed import Filed

LOG, RECORD = "log.jsonl", "run.json"
SETTINGS = ("step", "learning_rate")
"""What a log's line holds besides figures."""
LAST = 0.1
"""The share of an iteration's steps, the last ones, that its figures are means of."""


def measured(results: Sequence[Filed]) -> list[dict[str, Any]]:
    """Return each method's results by iteration; the start is iteration 0 of all that began there.

    Each point names its result by place; a method with fewer than two has no curve.
    """
    starts = {
        one.row.label: at
        for at, one in enumerate(results)
        if one.row.iteration == 0 and one.row.label == one.row.base
    }
    found: dict[str, dict[int, int]] = {}
    for at, one in enumerate(results):
        row = one.row
        if row.iteration and row.method:
            points = found.setdefault(row.method, {})
            if row.base in starts:
                points.setdefault(0, starts[row.base])
            points[row.iteration] = at
    return [
        {"method": method, "points": sorted(points.items())}
        for method, points in found.items()
        if len(points) > 1
    ]


def trained(workspace: Path) -> list[dict[str, Any]]:
    """Return for each run the figures at the end of every iteration whose log stands."""
    folder = workspace / "train"
    found = []
    for path in sorted(folder.rglob(RECORD)):
        run = _json(path)
        if isinstance(run, Mapping) and (points := list(_points(run.get("policies", ())))):
            name = path.parent.relative_to(folder).as_posix()
            found.append({"run": name, "method": str(run.get("method", name)), "points": points})
    return found


def _points(policies: Sequence[str]) -> Iterator[dict[str, Any]]:
    for iteration, weights in enumerate(policies):
        if iteration and (figures := _figures(Path(str(weights)) / LOG)):
            yield {"iteration": iteration, "figures": figures}


def _figures(log: Path) -> dict[str, float]:
    """Return the means of a log's last steps; nothing where it is missing or damaged."""
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        last = lines[-max(1, round(LAST * len(lines))) :] if lines else []
        told = last[-1] if last else {}
        names = [n for n in told if n not in SETTINGS and all(n in line for line in last)]
        return {name: sum(line[name] for line in last) / len(last) for name in names}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
