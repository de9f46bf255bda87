"""How long machines have worked for a contestant's answers, read from the stages' manifests.

What counts is every stage that the answers rest on, whoever had it made: a prefix that two methods
share counts in full for both, so that each figure is what the method costs alone, and a column does
not add up to what a workspace has spent. A start policy counts where it was made here; weights that
were given, the baseline's answers and the judge do not. An hour is one of the wall clock, times the
accelerators that the stage takes; where several workers share a stage, the time that each was at
its pieces, loading left out. A training that went on from a checkpoint tells of its last process
only: its hours are a lower bound.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.core.hardware import CPU
from harness.core.stages import MANIFEST

TRAINING, ANSWERING = "training", "answering"
STAGE_NAME = re.compile(r"[a-z-]+-[0-9a-f]{20}")
"""What a stage's directory is called."""

Hours = Mapping[str, float]
"""By what was computed on (an accelerator's name, or `processor`): hours of one of them."""


def compute_hours(answers: Path) -> dict[str, Hours] | None:
    """Return the hours of training and of answering; None where a stage does not tell its own.

    Args:
        answers: The directory of the stage that answered.
    """
    totals: dict[str, Counter[str]] = {TRAINING: Counter(), ANSWERING: Counter()}
    try:
        for path, manifest in lineage(answers):
            by_device = stage_hours(manifest)
            totals[ANSWERING if path == answers else TRAINING].update(by_device)
    except (OSError, ValueError, LookupError, TypeError):
        return None  # made by an older version, or removed since
    return {name: dict(by_device) for name, by_device in totals.items()}


def lineage(path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the directory and manifest of a stage and of all that it rests on, each once.

    Raises:
        OSError: a stage is not there any more.
        ValueError: a manifest is damaged.
    """
    pending, visited = [path], set[Path]()
    while pending:
        directory = pending.pop()
        if directory in visited:
            continue
        visited.add(directory)
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        yield directory, manifest
        inputs = (Path(entry["path"]) for entry in manifest["inputs"].values())
        pending += [
            stage_path
            for input_path in inputs
            if (stage_path := _input_stage(input_path, directory.parent))
        ]


def stage_hours(manifest: Mapping[str, Any]) -> dict[str, float]:
    """Return a stage's hours by what it computed on.

    Raises:
        KeyError: the manifest does not tell; an older version has written it.
    """
    provenance = manifest["provenance"]
    if provenance["accelerators"]:
        return {provenance["accelerator"]: provenance["accelerator_seconds"] / 3600}
    return {CPU: provenance["seconds"] / 3600}


def _input_stage(input_path: Path, store: Path) -> Path | None:
    """Return where an input's stage lies, moved with its store or not; None: it was given."""
    for path in (store / input_path.name, input_path):
        if (path / MANIFEST).is_file():
            return path
    return input_path if STAGE_NAME.fullmatch(input_path.name) else None
