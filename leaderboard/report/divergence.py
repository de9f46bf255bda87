"""KL to the policy that a run began with, of its later policies' own samples.

Iteration t + 1 trains on the best and the worst of the samples of π_t, and keeps what π_t and π_ref
make of them: the mean of log π_t − log π_ref over both is an estimate of KL(π_t ‖ π_ref), in nats a
response. The log's `kl_reference` is none: its samples are those of the policy before, so that at
the end of the first iteration it is what has been moved, with its sign turned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leaderboard.report.order import NORMAL
from leaderboard.report.runs import Run, read_json

MANIFEST, LOGPS = "manifest.json", "logps.parquet"
Figure = dict[str, float | None]


def anchored(run: Run) -> list[tuple[int, Figure]]:
    """Return KL to the policy that the run began with, of each policy whose samples are scored."""
    made = [_manifest(run.stage(weights)) for weights in run.policies]
    start = _digest(made[1], "policy") if len(made) > 1 else None
    found = []
    for iteration, told in enumerate(made[1:]):
        sampler = made[iteration].get("digest") if iteration else start
        if start and (kl := _divergence(run, told, [sampler, start])):
            found.append((iteration, kl))
    return found


def _divergence(run: Run, made: Mapping[str, Any], wanted: Sequence[Any]) -> Figure | None:
    """Return KL(sampler ‖ start) by the anchors of the training that has made a policy.

    None where an anchor is missing, or is of another policy than is wanted: told by content, for
    methods that make the same weights share what comes after.
    """
    try:
        anchors = [run.stage(made["inputs"][name]["path"]) for name in ("previous", "reference")]
        if [_digest(_manifest(anchor), "policy") for anchor in anchors] != wanted:
            return None
        return _mean(*map(_responses, anchors))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
        return None


def _manifest(stage: Path) -> Mapping[str, Any]:
    told = read_json(stage / MANIFEST)
    return told if isinstance(told, Mapping) else {}


def _digest(manifest: Mapping[str, Any], name: str) -> Any:
    """Return the digest of what went into a stage; None where it is not told."""
    try:
        return manifest["inputs"][name]["digest"]
    except (LookupError, TypeError):
        return None


def _responses(anchor: Path) -> list[float]:
    """Return the mean log-probability of each pair's two responses, in nats."""
    import pyarrow.parquet

    columns = pyarrow.parquet.read_table(anchor / LOGPS, columns=["chosen", "rejected"])
    both = (columns[name].to_pylist() for name in ("chosen", "rejected"))
    return [(chosen + rejected) / 2 for chosen, rejected in zip(*both, strict=True)]


def _mean(live: Sequence[float], reference: Sequence[float]) -> Figure:
    """Return the mean of pairs' differences with a normal 95 % interval."""
    moved = [a - b for a, b in zip(live, reference, strict=True)]
    count, value = len(moved), sum(moved) / len(moved)
    spread = sum((one - value) ** 2 for one in moved) / max(1, count - 1)
    reach = NORMAL * math.sqrt(spread / count)
    return {"value": value, "low": value - reach, "high": value + reach}
