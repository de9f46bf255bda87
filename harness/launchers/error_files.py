"""A worker's error as plain data, for the process that waits for the worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness import errors
from harness.core.io import write_atomically
from harness.errors import HarnessError

ERROR_FILE = "error.json"


def to_data(error: HarnessError) -> dict[str, str]:
    """Return an error as plain data."""
    return {"kind": type(error).__name__, "message": str(error)}


def from_data(data: Mapping[str, str]) -> HarnessError:
    """Return the error of `to_data`; an unknown class becomes HarnessError."""
    kind: type[HarnessError] = getattr(errors, data["kind"], HarnessError)
    return kind(data["message"])


def write(directory: Path, error: HarnessError) -> None:
    """Write an error into a directory."""
    write_atomically(directory / ERROR_FILE, json.dumps(to_data(error)))


def clear(directory: Path) -> None:
    """Remove the error of an earlier attempt."""
    (directory / ERROR_FILE).unlink(missing_ok=True)


def read(directory: Path) -> HarnessError | None:
    """Return the error in a directory, if there is one."""
    try:
        return from_data(json.loads((directory / ERROR_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
