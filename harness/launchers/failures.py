"""A worker's error as plain data, for the process that waits for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness import errors
from harness.errors import HarnessError
from harness.files import write_whole

FAILURE = "failure.json"


def told(error: HarnessError) -> dict[str, str]:
    """Return an error as plain data."""
    return {"kind": type(error).__name__, "message": str(error)}


def made(told: Mapping[str, str]) -> HarnessError:
    """Return the error that was told."""
    kind: type[HarnessError] = getattr(errors, told["kind"], HarnessError)
    return kind(told["message"])


def leave(place: Path, error: HarnessError) -> None:
    """Leave an error in a folder."""
    write_whole(place / FAILURE, json.dumps(told(error)))


def forget(place: Path) -> None:
    """Remove what an earlier try left."""
    (place / FAILURE).unlink(missing_ok=True)


def left(place: Path) -> HarnessError | None:
    """Return the error that lies in a folder, if one does."""
    try:
        return made(json.loads((place / FAILURE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
