"""Hours of training and of answering behind a contestant's answers, read from stage manifests.

Every stage that the answers rest on counts, whichever run created it: a prefix that two methods
share counts in full for both, so that each figure is what the method costs alone, and a column does
not add up to what a workspace has spent. A base policy counts if it was trained in this workspace;
external weights, the baseline's answers and the judge do not count. An hour is an hour of the wall
clock times the accelerators of the stage; where several workers share a stage, it is the time that
each spent on its shards, loading left out. A training resumed from a checkpoint reports its last
process only: its hours are a lower bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.core.hardware import CPU
from harness.core.manifests import STAGE_NAME, known_manifest
from harness.errors import StoreError

TRAINING, ANSWERING = "training", "answering"

Hours = Mapping[str, float]
"""By device (an accelerator's name, or `CPU`): hours of one of them."""


def compute_hours(answers: Path) -> dict[str, Hours] | None:
    """Return the hours of training and of answering; None where a stage does not record its own.

    Args:
        answers: The directory of the stage that answered.
    """
    totals: dict[str, Counter[str]] = {TRAINING: Counter(), ANSWERING: Counter()}
    try:
        for path, manifest in lineage(answers):
            by_device = stage_hours(manifest)
            totals[ANSWERING if path == answers else TRAINING].update(by_device)
    except (StoreError, LookupError, TypeError, AttributeError):
        return None  # created by an older version, or removed since
    return {name: dict(by_device) for name, by_device in totals.items()}


def lineage(path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the directory and manifest of a stage and of all that it rests on, each once.

    A stage whose files were deleted to save space still counts: its manifest is kept.

    Raises:
        StoreError: a manifest is missing or damaged.
    """
    pending: list[tuple[Path, str | None]] = [(path, None)]
    visited = set[Path]()
    while pending:
        directory, result = pending.pop()
        if directory in visited:
            continue
        visited.add(directory)
        manifest = known_manifest(directory.parent, directory.name, result)
        yield directory, manifest
        for entry in manifest["inputs"].values():
            inner = Path(entry["path"])
            if inner.parent == directory.parent and STAGE_NAME.fullmatch(inner.name):
                pending.append((inner, entry["digest"]))


def stage_hours(manifest: Mapping[str, Any]) -> dict[str, float]:
    """Return a stage's hours by device.

    Raises:
        KeyError: the manifest lacks them; an older version wrote it.
    """
    provenance = manifest["provenance"]
    if provenance["accelerators"]:
        return {provenance["accelerator"]: provenance["accelerator_seconds"] / 3600}
    return {CPU: provenance["seconds"] / 3600}
