"""A worker's error, left in a file for the process that waits for it."""

from __future__ import annotations

import json
from pathlib import Path

from harness import errors
from harness.errors import HarnessError
from harness.files import write_whole

FAILURE = "failure.json"


def leave(place: Path, error: HarnessError) -> None:
    """Leave an error in a folder."""
    told = {"kind": type(error).__name__, "message": str(error)}
    write_whole(place / FAILURE, json.dumps(told))


def forget(place: Path) -> None:
    """Remove what an earlier try left."""
    (place / FAILURE).unlink(missing_ok=True)


def left(place: Path) -> HarnessError | None:
    """Return the error that lies in a folder, if one does."""
    try:
        told = json.loads((place / FAILURE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind: type[HarnessError] = getattr(errors, told["kind"], HarnessError)
    return kind(told["message"])
