"""Where runs are recorded, and what they are called: light, for whoever only lists them."""

from __future__ import annotations

from pathlib import Path

from harness.runs import Workspace

RECORD = "run.json"


def folder(workspace: Workspace, name: str) -> Path:
    """Return where a run's record lies."""
    return workspace.root / "train" / name


def names(workspace: Workspace) -> list[str]:
    """List the runs of a workspace."""
    root = workspace.root / "train"
    return sorted(p.parent.relative_to(root).as_posix() for p in root.rglob(RECORD))
