"""Curves by iteration: figures of results, metrics of training logs, KL to the reference.

Iteration t + 1 trains on the best and the worst of the samples of π_t and stores log π_t and
log π_ref of both: the mean of log π_t − log π_ref over them estimates KL(π_t ‖ π_ref), in nats a
response. The log's drifts do not: their samples are those of the previous policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.manifests import load_manifest, read_manifest
from harness.core.workspace import (
    LOG_FILE,
    LOGPS_FILE,
    Run,
    Workspace,
    read_log,
    read_logps,
    read_runs,
)
from harness.errors import StoreError
from harness.statistics.intervals import normal_interval
from leaderboard.report.results import LoadedResult
from leaderboard.table import EstimateData, estimate_data

LOG_SETTINGS = ("step", "learning_rate")
"""What a log's row holds besides metrics."""
LAST_SHARE = 0.1
"""An iteration's metrics are means over this share of its steps, the last ones."""
REFERENCE = "kl_to_reference"
"""KL to the reference, which no log holds."""
PREVIOUS_DRIFT, REFERENCE_DRIFT = "previous_drift", "reference_drift"
OLD_NAMES = {"kl_previous": (PREVIOUS_DRIFT, -1), "kl_reference": (REFERENCE_DRIFT, 1)}
"""The drifts as earlier versions logged them: under the name of a divergence, and their sign."""
MAIN_METRICS = (PREVIOUS_DRIFT, "margin")
"""The metrics of the log that are shown first."""
HEADINGS = {
    REFERENCE: "KL to the reference, nats a response",
    PREVIOUS_DRIFT: "drift from the previous policy, nats a response",
    "margin": "margin of the objective",
    REFERENCE_DRIFT: "drift from the reference, nats a response",
}
REFERENCE_NOTE = (
    "KL(πₜ ‖ π_ref) is the mean of log πₜ − log π_ref over the best and the worst of each "
    "policy's own samples, which the next iteration trains on, with its 95 % interval: the last "
    "policy has no such samples, and no point."
)
LAST_STEPS_NOTE = (
    "Mean over the last tenth of each iteration's steps, on the samples of the previous policy."
)
DRIFT_NOTE = "Not an estimate of KL: it may have either sign."
NOTES = {
    PREVIOUS_DRIFT: f"log πₜ − log πₜ₋₁. {DRIFT_NOTE} {LAST_STEPS_NOTE}",
    "margin": f"{LAST_STEPS_NOTE} Each objective has its own scale: do not compare them.",
    REFERENCE_DRIFT: f"log πₜ − log π_ref. {DRIFT_NOTE} {LAST_STEPS_NOTE}",
}

CurveKey = tuple[str, str]
"""A method and a run of it."""
LabeledRun = tuple[Run, str]
"""A run and its label."""
Point = tuple[int, EstimateData]
"""An iteration and a figure."""


def iteration_curves(results: Sequence[LoadedResult]) -> list[dict[str, Any]]:
    """Return each run's results by iteration; its base policy is iteration 0.

    Each point is (iteration, index of the result); a run with fewer than two has no curve.
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
    labels = curve_labels(list(curves))
    return [
        {"method": key[0], "label": label, "points": points}
        for (key, points), label in zip(curves.items(), labels, strict=True)
    ]


def curve_labels(keys: Sequence[CurveKey]) -> list[str]:
    """Return the methods' names, with the run's where a method has several runs."""
    counts = Counter(method for method, _ in keys)
    return [method if counts[method] == 1 else f"{method}, {run}" for method, run in keys]


def training_curves(workspace: Workspace) -> list[dict[str, Any]]:
    """Return curves of training metrics by iteration, a line a run, the main metrics first."""
    runs = [run for run in read_runs(workspace) if len(run.policies) > 1]
    if not runs:
        return []
    labels = curve_labels([(run.method, run.name) for run in runs])
    labeled_runs = list(zip(runs, labels, strict=True))
    logged = [list(_logged_means(run)) for run in runs]
    logged_names = {name for points in logged for _, means in points for name in means}
    names = [n for n in MAIN_METRICS if n in logged_names] + sorted(logged_names - {*MAIN_METRICS})
    curves = [
        _curve(name, labeled_runs, [_points(points, name) for points in logged]) for name in names
    ]
    return [_reference_curve(labeled_runs), *curves]


def _logged_means(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (iteration, means of its log's last steps) where there is a log, as it was written."""
    for iteration, weights in enumerate(run.policies):
        log = _log(Path(weights)) if iteration else []
        if means := last_log_means(log):
            yield iteration, dict(_renamed(name, value) for name, value in means.items())


def _renamed(name: str, value: float) -> tuple[str, float]:
    """Return a metric of any version's log as this version logs it."""
    new_name, sign = OLD_NAMES.get(name, (name, 1))
    return new_name, sign * value


def last_log_means(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means of a log's last steps; empty where it has none, or is damaged."""
    tail = log[-max(1, round(LAST_SHARE * len(log))) :]
    newest = tail[-1] if tail else {}
    names = [n for n in newest if n not in LOG_SETTINGS and all(n in row for row in tail)]
    try:
        return {name: sum(float(row[name]) for row in tail) / len(tail) for name in names}
    except (ValueError, TypeError):
        return {}


def _points(logged: Sequence[tuple[int, dict[str, float]]], name: str) -> list[Point]:
    bounds: EstimateData = {"low": None, "high": None}
    return [(i, {"value": means[name], **bounds}) for i, means in logged if name in means]


def _curve(
    name: str, labeled_runs: Sequence[LabeledRun], points: Sequence[list[Point]]
) -> dict[str, Any]:
    pairs = zip(labeled_runs, points, strict=True)
    return {
        "name": name,
        "heading": HEADINGS.get(name, name.replace("_", " ")),
        "first": name in (REFERENCE, *MAIN_METRICS),
        "notes": [NOTES[name]] if name in NOTES else [],
        "series": [
            {"label": label, "method": run.method, "points": run_points}
            for (run, label), run_points in pairs
            if run_points
        ],
    }


def _reference_curve(labeled_runs: Sequence[LabeledRun]) -> dict[str, Any]:
    """Return KL to the reference, with a note on the runs for which it is not known."""
    divergences = [reference_divergences(run) for run, _ in labeled_runs]
    known = [points if any(i for i, _ in points) else [] for points in divergences]
    pairs = zip(labeled_runs, known, strict=True)
    missing = [label for (run, label), points in pairs if len(run.policies) > 2 and not points]
    note = (
        f"Not known of {', '.join(missing)}: the anchors of its training are not the policy that "
        "it started from."
    )
    notes = [*([REFERENCE_NOTE] if any(known) else []), *([note] if missing else [])]
    return {**_curve(REFERENCE, labeled_runs, known), "notes": notes}


def reference_divergences(run: Run) -> list[Point]:
    """Return KL to the run's base policy, of each policy whose samples are scored."""
    manifests = [_manifest(weights) for weights in run.policies]
    start = _input_digest(manifests[1], "policy") if len(manifests) > 1 else None
    points = []
    for iteration, manifest in enumerate(manifests[1:]):
        sampler = manifests[iteration].get("digest") if iteration else start
        if start and (kl := _divergence(manifest, [sampler, start])):
            points.append((iteration, kl))
    return points


def _divergence(manifest: Mapping[str, Any], digests: Sequence[Any]) -> EstimateData | None:
    """Return KL(sampler ‖ start) by the anchors of the training that created a policy.

    None where an anchor is missing, or is another policy. Policies are compared by content:
    methods with the same weights share the stages after them.
    """
    try:
        paths = [manifest["inputs"][name]["path"] for name in ("previous", "reference")]
        if [_input_digest(_manifest(path), "policy") for path in paths] != digests:
            return None
        sampler, reference = (_pair_means(path) for path in paths)
        differences = [a - b for a, b in zip(sampler, reference, strict=True)]
        return estimate_data(normal_interval(differences))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, StoreError):
        return None


def _log(directory: Path) -> list[dict[str, Any]]:
    try:
        read_manifest(directory, {LOG_FILE})
    except StoreError:
        return []
    return read_log(directory / LOG_FILE)


def _manifest(stage: str) -> Mapping[str, Any]:
    try:
        return load_manifest(Path(stage))
    except StoreError:
        return {}


def _input_digest(manifest: Mapping[str, Any], name: str) -> Any:
    """Return the digest of a stage's input; None where the manifest lacks it."""
    try:
        return manifest["inputs"][name]["digest"]
    except (LookupError, TypeError):
        return None


def _pair_means(stage: str) -> list[float]:
    """Return the mean log-probability of each pair's two responses, in nats."""
    read_manifest(Path(stage), {LOGPS_FILE})
    chosen, rejected = read_logps(stage)
    return [(first + second) / 2 for first, second in zip(chosen, rejected, strict=True)]
