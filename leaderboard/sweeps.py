"""Rows of a sweep: the results of its runs, called by their settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.config import suggest
from harness.core.workspace import Workspace
from harness.core.workspace.sweeps import SweepRecord, read_sweep, sweep_names
from harness.errors import ConfigError, StoreError
from leaderboard.rows import Row


def find_sweep(root: Path, name: str) -> SweepRecord:
    """Return a sweep of a workspace.

    Raises:
        ConfigError: there is none of that name.
        StoreError: its record is damaged.
    """
    workspace = Workspace(root, isolate=False)
    record = read_sweep(workspace, name)
    if record is None:
        raise ConfigError(f"no sweep called {name!r}{suggest(name, sweep_names(workspace))}")
    return record


def select_rows(rows: Sequence[Row], record: SweepRecord) -> list[Row]:
    """Return the rows of a sweep's runs in the sweep's order, as the sweep has graded them.

    Raises:
        StoreError: there are none.
    """
    order = {run.name: position for position, run in enumerate(record.runs)}
    labels = {run.name: run.label for run in record.runs}
    own = [row for row in rows if row.run in order and row.label.startswith(labels[row.run])]
    if not own:
        raise StoreError(
            f"no result of the sweep {record.name!r} holds a verdict: run its `harness sweep` again"
        )
    return sorted(own, key=lambda row: order[row.run])


def label_settings(rows: Sequence[Row], record: SweepRecord) -> list[Row]:
    """Return pooled rows under the names of their settings."""
    settings = {run.name: run.setting for run in record.runs}
    return [replace(row, label=settings[(row.repeats or (row,))[0].run]) for row in rows]
