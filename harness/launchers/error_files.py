"""A worker's error as plain data, for the process that waits for the worker."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from harness import errors
from harness.core.io import write_atomically
from harness.errors import HarnessError, first_line

ERROR_FILE = "error.json"
LOST = re.compile(r"gloo/transport|NCCL error|connection (closed|reset) by peer", re.IGNORECASE)
"""In what torch says of a group that has lost a process."""


def to_data(error: HarnessError) -> dict[str, str]:
    """Return an error as plain data."""
    return {"kind": type(error).__name__, "message": str(error)}


def from_data(data: Mapping[str, str]) -> HarnessError:
    """Return the error of `to_data`; an unknown class becomes HarnessError."""
    kind: type[HarnessError] = getattr(errors, data["kind"], HarnessError)
    return kind(data["message"])


def write(directory: Path, error: HarnessError) -> None:
    """Write an error into a directory; the first one stays, from which those of others follow."""
    if not (directory / ERROR_FILE).exists():
        write_atomically(directory / ERROR_FILE, json.dumps(to_data(error)))


def write_unexpected(directory: Path, error: Exception, traceback: str) -> None:
    """Write an error that is none of the harness's own, unless a lost process has caused it.

    Args:
        directory: where it is written.
        error: what a process has raised.
        traceback: where its traceback is.
    """
    if not is_lost_process(error):
        message = f"{type(error).__name__}: {first_line(error)}; its traceback is in {traceback}"
        write(directory, HarnessError(message))


def is_lost_process(error: Exception) -> bool:
    """Return whether an error only says that another process of the group has ended."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "DistError" in kinds or bool(LOST.search(str(error)))


def clear(directory: Path) -> None:
    """Remove the error of an earlier attempt."""
    (directory / ERROR_FILE).unlink(missing_ok=True)


def read(directory: Path) -> HarnessError | None:
    """Return the error in a directory, if there is one."""
    try:
        return from_data(json.loads((directory / ERROR_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
