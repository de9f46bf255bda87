"""The runs of a workspace as the report reads them: where they stand and what they have logged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG, RECORD = "log.jsonl", "run.json"
SETTINGS = ("step", "learning_rate")
"""What a log's line holds besides figures."""
LAST = 0.1
"""The share of an iteration's steps, the last ones, that its figures are means of."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its record tells it."""

    name: str
    method: str
    policies: tuple[str, ...]
    """The weights that it began with, and those after each iteration."""
    stages: Path
    """Where stages lie if they do not where the record says: the workspace has moved."""

    def stage(self, path: str) -> Path:
        """Return where a stage lies."""
        return Path(path) if os.path.isdir(path) else self.stages / Path(path).name


def runs(workspace: Path) -> Iterator[Run]:
    """Yield the runs of a workspace by name; one whose record cannot be read says nothing."""
    folder = workspace / "train"
    for path in sorted(folder.rglob(RECORD)):
        told = read_json(path)
        if isinstance(told, Mapping) and isinstance(told.get("policies"), list):
            name = path.parent.relative_to(folder).as_posix()
            policies = tuple(str(policy) for policy in told["policies"])
            yield Run(name, str(told.get("method", name)), policies, workspace / "stages")


def last_figures(log: Path) -> dict[str, float]:
    """Return the means of a log's last steps; nothing where it is missing or damaged."""
    try:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        last = lines[-max(1, round(LAST * len(lines))) :] if lines else []
        told = last[-1] if last else {}
        names = [n for n in told if n not in SETTINGS and all(n in line for line in last)]
        return {name: sum(float(line[name]) for line in last) / len(last) for name in names}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def read_json(path: Path) -> Any:
    """Return a file's plain data; None where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
