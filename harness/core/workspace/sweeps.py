"""Sweeps: the runs that one `harness sweep` has trained, under one name.

<workspace>/train/<sweep>/sweep.json holds the record; the runs are called <sweep>/<settings>.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.core.io import write_atomically
from harness.core.workspace.integrity import check_record, with_sum
from harness.core.workspace.runs import Workspace
from harness.errors import StoreError

SWEEP_RECORD = "sweep.json"


@dataclass(frozen=True)
class SweepRun:
    """A run of a sweep."""

    name: str
    """In the workspace."""
    label: str
    """In tables."""
    setting: str
    """In tables, where the seeds of a setting are pooled."""
    method: str
    """The configuration that was trained."""
    settings: Mapping[str, Any]
    """By dotted key: the values that differ between the sweep's runs."""
    seed: int


@dataclass(frozen=True)
class SweepRecord:
    """The runs of a sweep, in the order in which they were asked for."""

    name: str
    runs: tuple[SweepRun, ...]

    def merge(self, other: SweepRecord) -> SweepRecord:
        """Return the record with another's runs; of two of one name the other's counts."""
        runs = {run.name: run for run in (*self.runs, *other.runs)}
        return SweepRecord(self.name, tuple(runs.values()))


def sweep_path(workspace: Workspace, name: str) -> Path:
    """Return the path of a sweep's record."""
    return workspace.root / "train" / name / SWEEP_RECORD


def sweep_names(workspace: Workspace) -> list[str]:
    """Return the names of a workspace's sweeps, sorted."""
    root = workspace.root / "train"
    return sorted(path.parent.relative_to(root).as_posix() for path in root.rglob(SWEEP_RECORD))


def read_sweep(workspace: Workspace, name: str) -> SweepRecord | None:
    """Return a sweep's record; None where there is none.

    Raises:
        StoreError: the record is damaged.
    """
    path = sweep_path(workspace, name)
    remedy = "remove it and run the same `harness sweep` again, which trains nothing anew"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise TypeError("it is no mapping")
        check_record(path, data, remedy)
        return SweepRecord(data["name"], tuple(SweepRun(**run) for run in data["runs"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}): {remedy}") from error


def write_sweep(workspace: Workspace, record: SweepRecord) -> None:
    """Write a sweep's record.

    Raises:
        StoreError: the disk is full or not writable.
    """
    text = json.dumps(with_sum(asdict(record)), indent=1, sort_keys=True)
    write_atomically(sweep_path(workspace, record.name), text + "\n")


def remove_sweep(workspace: Workspace, name: str) -> None:
    """Remove a sweep's record; its runs stay.

    Raises:
        OSError: it cannot be removed.
    """
    path = sweep_path(workspace, name)
    path.unlink(missing_ok=True)
    remove_empty(path.parent, workspace.root / "train")


def remove_empty(directory: Path, root: Path) -> None:
    """Remove a directory and those above it, as long as they are empty and below the root.

    Raises:
        OSError: one cannot be removed.
    """
    while directory != root and directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent
