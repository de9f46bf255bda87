"""What training tells of every iteration: how far the policy has moved, the margin, the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from leaderboard.report.divergence import Figure, anchored
from leaderboard.report.runs import LOG, Run, last_figures, runs

REFERENCE, DRIFT = "kl_to_reference", "reference_drift"
"""KL to the reference, which no log holds, and what the log calls `kl_reference`, which is none."""
LOGGED = ("kl_previous", "margin")
"""The figures of the log that are shown first."""
HEADINGS = {
    REFERENCE: "KL to the reference, nats a response",
    "kl_previous": "KL to the previous policy, nats a response",
    "margin": "margin of the objective",
    DRIFT: "drift from the reference, nats a response",
}
ANCHORED = (
    "KL(πₜ ‖ π_ref) is the mean of log πₜ − log π_ref over the best and the worst of each "
    "policy's own samples, which the next iteration trains on, with its 95 % interval: the last "
    "policy has none, and no point."
)
LAST = "Mean over the last tenth of each iteration's steps, on the samples of the policy before."
NOTES = {
    "kl_previous": f"KL(πₜ₋₁ ‖ πₜ). {LAST}",
    "margin": f"{LAST} It is each objective's own: those of two objectives share no scale.",
    DRIFT: f"log πₜ − log π_ref; no estimate of KL, and it may be negative. {LAST}",
}

Line = tuple[Run, str]
"""A run and what it is called."""
Point = tuple[int, Figure]


def trained(workspace: Path) -> list[dict[str, Any]]:
    """Return curves by iteration with a line a run, those that matter most first."""
    lines = _named([run for run in runs(workspace) if len(run.policies) > 1])
    logged = [list(_logged(run)) for run, _ in lines]
    there = {name for points in logged for _, figures in points for name in figures}
    names = [n for n in LOGGED if n in there] + sorted(there - {*LOGGED})
    found = [_curve(name, lines, [_points(points, name) for points in logged]) for name in names]
    return [_reference(lines), *found] if lines else []


def _named(found: Sequence[Run]) -> list[Line]:
    """Return runs with their methods' names, and their own where a method has several."""
    count = Counter(run.method for run in found)
    return [
        (run, run.method if count[run.method] == 1 else f"{run.method}, {run.name}")
        for run in found
    ]


def _reference(lines: Sequence[Line]) -> dict[str, Any]:
    """Return KL to the reference, and of whom it is not known."""
    kept = [anchored(run) for run, _ in lines]
    known = [points if any(i for i, _ in points) else [] for points in kept]
    told = zip(lines, known, strict=True)
    missing = [label for (run, label), points in told if len(run.policies) > 2 and not points]
    note = (
        f"Not known of {', '.join(missing)}: the anchors of its training are not of the policy "
        "that it began with."
    )
    notes = [*([ANCHORED] if any(known) else []), *([note] if missing else [])]
    return {**_curve(REFERENCE, lines, known), "notes": notes}


def _curve(name: str, lines: Sequence[Line], points: Sequence[list[Point]]) -> dict[str, Any]:
    told = zip(lines, points, strict=True)
    return {
        "name": name,
        "heading": HEADINGS.get(name, name.replace("_", " ")),
        "first": name in (REFERENCE, *LOGGED),
        "notes": [NOTES[name]] if name in NOTES else [],
        "series": [
            {"label": label, "method": run.method, "points": own}
            for (run, label), own in told
            if own
        ],
    }


def _logged(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (iteration, means of its log's last steps) where the log stands."""
    for iteration, weights in enumerate(run.policies):
        if iteration and (figures := last_figures(run.stage(weights) / LOG)):
            yield iteration, {DRIFT if n == "kl_reference" else n: v for n, v in figures.items()}


def _points(logged: Sequence[tuple[int, dict[str, float]]], name: str) -> list[Point]:
    bounds: Figure = {"low": None, "high": None}
    return [(i, {"value": told[name], **bounds}) for i, told in logged if name in told]
