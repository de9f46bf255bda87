"""A worker's error as plain data, for the process that waits for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness import errors
from harness.core.io import write_atomically
from harness.errors import HarnessError

FAILURE = "failure.json"


def to_data(error: HarnessError) -> dict[str, str]:
    """Return an error as plain data."""
    return {"kind": type(error).__name__, "message": str(error)}


def from_data(data: Mapping[str, str]) -> HarnessError:
    """Return the error that was told."""
    kind: type[HarnessError] = getattr(errors, data["kind"], HarnessError)
    return kind(data["message"])


def write(directory: Path, error: HarnessError) -> None:
    """Leave an error in a folder."""
    write_atomically(directory / FAILURE, json.dumps(to_data(error)))


def clear(directory: Path) -> None:
    """Remove what an earlier try left."""
    (directory / FAILURE).unlink(missing_ok=True)


def read(directory: Path) -> HarnessError | None:
    """Return the error that lies in a folder, if one does."""
    try:
        return from_data(json.loads((directory / FAILURE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
