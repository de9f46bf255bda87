"""The runs of a workspace as the report reads them: where they stand and what they have logged.

What changes from iteration to iteration in the results.

KL to the policy that a run began with, of its later policies' own samples.

Iteration t + 1 trains on the best and the worst of the samples of π_t, and keeps what π_t and π_ref
make of them: the mean of log π_t − log π_ref over both is an estimate of KL(π_t ‖ π_ref), in nats a
response. The log's `kl_reference` is none: its samples are those of the policy before, so that at
the end of the first iteration it is what has been moved, with its sign turned.

What training tells of every iteration: how far the policy has moved, the margin, the rest.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.statistics.intervals import normal_interval
from leaderboard.report.results import LoadedResult

LOG, RECORD = "log.jsonl", "run.json"
LOG_SETTINGS = ("step", "learning_rate")
"""What a log's line holds besides figures."""
LAST_SHARE = 0.1
"""The share of an iteration's steps, the last ones, that its figures are means of."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run as its record tells it."""

    name: str
    method: str
    policies: tuple[str, ...]
    """The weights that it began with, and those after each iteration."""
    stages: Path
    """Where stages lie if they do not where the record says: the workspace has moved."""

    def stage_path(self, path: str) -> Path:
        """Return where a stage lies."""
        return Path(path) if os.path.isdir(path) else self.stages / Path(path).name


def read_runs(workspace: Path) -> Iterator[RecordedRun]:
    """Yield the runs of a workspace by name; one whose record cannot be read says nothing."""
    folder = workspace / "train"
    for path in sorted(folder.rglob(RECORD)):
        record = read_json(path)
        if isinstance(record, Mapping) and isinstance(record.get("policies"), list):
            name = path.parent.relative_to(folder).as_posix()
            policies = tuple(str(policy) for policy in record["policies"])
            yield RecordedRun(name, str(record.get("method", name)), policies, workspace / "stages")


def last_log_means(log: Path) -> dict[str, float]:
    """Return the means of a log's last steps; nothing where it is missing or damaged."""
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        tail = lines[-max(1, round(LAST_SHARE * len(lines))) :] if lines else []
        newest = tail[-1] if tail else {}
        names = [n for n in newest if n not in LOG_SETTINGS and all(n in line for line in tail)]
        return {name: sum(float(line[name]) for line in tail) / len(tail) for name in names}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def read_json(path: Path) -> Any:
    """Return a file's plain data; None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


CurveKey = tuple[str, str]
"""A method and the run of it."""


def iteration_curves(results: Sequence[LoadedResult]) -> list[dict[str, Any]]:
    """Return each run's results by iteration; the start is iteration 0 of all that began there.

    Each point names its result by place; a run with fewer than two has no curve.
    """
    starts = {
        result.row.label: index
        for index, result in enumerate(results)
        if result.row.iteration == 0 and result.row.label == result.row.base
    }
    points_by_run: dict[CurveKey, dict[int, int]] = {}
    for index, result in enumerate(results):
        row = result.row
        if row.iteration and row.method:
            points = points_by_run.setdefault((row.method, row.run), {})
            if row.base in starts:
                points.setdefault(0, starts[row.base])
            points[row.iteration] = index
    curves = {
        key: sorted(points.items()) for key, points in points_by_run.items() if len(points) > 1
    }
    return [
        {"method": key[0], "label": _curve_label(key, list(curves)), "points": points}
        for key, points in curves.items()
    ]


def _curve_label(key: CurveKey, keys: Sequence[CurveKey]) -> str:
    """Return a method's name, with the run's where the method has several."""
    method, run = key
    return method if [other[0] for other in keys].count(method) == 1 else f"{method}, {run}"


MANIFEST, LOGPS = "manifest.json", "logps.parquet"
EstimateData = dict[str, float | None]


def reference_divergences(run: RecordedRun) -> list[tuple[int, EstimateData]]:
    """Return KL to the policy that the run began with, of each policy whose samples are scored."""
    manifests = [_read_manifest(run.stage_path(weights)) for weights in run.policies]
    start = _input_digest(manifests[1], "policy") if len(manifests) > 1 else None
    points = []
    for iteration, manifest in enumerate(manifests[1:]):
        sampler = manifests[iteration].get("digest") if iteration else start
        if start and (kl := _divergence(run, manifest, [sampler, start])):
            points.append((iteration, kl))
    return points


def _divergence(
    run: RecordedRun, manifest: Mapping[str, Any], digests: Sequence[Any]
) -> EstimateData | None:
    """Return KL(sampler ‖ start) by the anchors of the training that has made a policy.

    None where an anchor is missing, or is of another policy than is wanted: told by content, for
    methods that make the same weights share what comes after.
    """
    try:
        anchors = [
            run.stage_path(manifest["inputs"][name]["path"]) for name in ("previous", "reference")
        ]
        if [_input_digest(_read_manifest(anchor), "policy") for anchor in anchors] != digests:
            return None
        return _mean_difference(*map(_pair_means, anchors))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
        return None


def _read_manifest(stage: Path) -> Mapping[str, Any]:
    data = read_json(stage / MANIFEST)
    return data if isinstance(data, Mapping) else {}


def _input_digest(manifest: Mapping[str, Any], name: str) -> Any:
    """Return the digest of what went into a stage; None where it is not told."""
    try:
        return manifest["inputs"][name]["digest"]
    except (LookupError, TypeError):
        return None


def _pair_means(anchor: Path) -> list[float]:
    """Return the mean log-probability of each pair's two responses, in nats."""
    import pyarrow.parquet

    columns = pyarrow.parquet.read_table(anchor / LOGPS, columns=["chosen", "rejected"])
    both = (columns[name].to_pylist() for name in ("chosen", "rejected"))
    return [(chosen + rejected) / 2 for chosen, rejected in zip(*both, strict=True)]


def _mean_difference(sampler: Sequence[float], reference: Sequence[float]) -> EstimateData:
    """Return the mean of pairs' differences with a normal 95 % interval."""
    differences = [a - b for a, b in zip(sampler, reference, strict=True)]
    mean = normal_interval(differences)
    return {"value": mean.value, "low": mean.low, "high": mean.high}


REFERENCE, DRIFT = "kl_to_reference", "reference_drift"
"""KL to the reference, which no log holds, and what the log calls `kl_reference`, which is none."""
MAIN_FIGURES = ("kl_previous", "margin")
"""The figures of the log that are shown first."""
HEADINGS = {
    REFERENCE: "KL to the reference, nats a response",
    "kl_previous": "KL to the previous policy, nats a response",
    "margin": "margin of the objective",
    DRIFT: "drift from the reference, nats a response",
}
REFERENCE_NOTE = (
    "KL(πₜ ‖ π_ref) is the mean of log πₜ − log π_ref over the best and the worst of each "
    "policy's own samples, which the next iteration trains on, with its 95 % interval: the last "
    "policy has none, and no point."
)
LAST_STEPS_NOTE = (
    "Mean over the last tenth of each iteration's steps, on the samples of the policy before."
)
NOTES = {
    "kl_previous": f"KL(πₜ₋₁ ‖ πₜ). {LAST_STEPS_NOTE}",
    "margin": f"{LAST_STEPS_NOTE} It is each objective's own: those of two objectives share no scale.",
    DRIFT: f"log πₜ − log π_ref; no estimate of KL, and it may be negative. {LAST_STEPS_NOTE}",
}

LabeledRun = tuple[RecordedRun, str]
"""A run and what it is called."""
Point = tuple[int, EstimateData]


def training_curves(workspace: Path) -> list[dict[str, Any]]:
    """Return curves by iteration with a line a run, those that matter most first."""
    labeled_runs = _label_runs([run for run in read_runs(workspace) if len(run.policies) > 1])
    logged = [list(_logged_means(run)) for run, _ in labeled_runs]
    logged_names = {name for points in logged for _, figures in points for name in figures}
    names = [n for n in MAIN_FIGURES if n in logged_names] + sorted(logged_names - {*MAIN_FIGURES})
    curves = [
        _curve(name, labeled_runs, [_points(points, name) for points in logged]) for name in names
    ]
    return [_reference_curve(labeled_runs), *curves] if labeled_runs else []


def _label_runs(recorded: Sequence[RecordedRun]) -> list[LabeledRun]:
    """Return runs with their methods' names, and their own where a method has several."""
    count = Counter(run.method for run in recorded)
    return [
        (run, run.method if count[run.method] == 1 else f"{run.method}, {run.name}")
        for run in recorded
    ]


def _reference_curve(labeled_runs: Sequence[LabeledRun]) -> dict[str, Any]:
    """Return KL to the reference, and of whom it is not known."""
    divergences = [reference_divergences(run) for run, _ in labeled_runs]
    known = [points if any(i for i, _ in points) else [] for points in divergences]
    pairs = zip(labeled_runs, known, strict=True)
    missing = [label for (run, label), points in pairs if len(run.policies) > 2 and not points]
    note = (
        f"Not known of {', '.join(missing)}: the anchors of its training are not of the policy "
        "that it began with."
    )
    notes = [*([REFERENCE_NOTE] if any(known) else []), *([note] if missing else [])]
    return {**_curve(REFERENCE, labeled_runs, known), "notes": notes}


def _curve(
    name: str, labeled_runs: Sequence[LabeledRun], points: Sequence[list[Point]]
) -> dict[str, Any]:
    pairs = zip(labeled_runs, points, strict=True)
    return {
        "name": name,
        "heading": HEADINGS.get(name, name.replace("_", " ")),
        "first": name in (REFERENCE, *MAIN_FIGURES),
        "notes": [NOTES[name]] if name in NOTES else [],
        "series": [
            {"label": label, "method": run.method, "points": run_points}
            for (run, label), run_points in pairs
            if run_points
        ],
    }


def _logged_means(run: RecordedRun) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (iteration, means of its log's last steps) where the log stands."""
    for iteration, weights in enumerate(run.policies):
        if iteration and (figures := last_log_means(run.stage_path(weights) / LOG)):
            yield iteration, {DRIFT if n == "kl_reference" else n: v for n, v in figures.items()}


def _points(logged: Sequence[tuple[int, dict[str, float]]], name: str) -> list[Point]:
    bounds: EstimateData = {"low": None, "high": None}
    return [(i, {"value": means[name], **bounds}) for i, means in logged if name in means]
