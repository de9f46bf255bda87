"""Names that a user chooses or a file brings: of runs, of contestants in tables, of benchmarks.

A name is refused before anything is trained, graded or written, if it could leave the workspace,
be mistaken for another, or not be printed.
"""

from __future__ import annotations

import re
from typing import Literal

from harness.core.terminal import shorten
from harness.errors import ConfigError

Kind = Literal["run", "label", "benchmark"]

MAX_BYTES = 255
"""The longest name that file systems take, in UTF-8."""
REMEDIES: dict[Kind, str] = {
    "run": "choose another with --name",
    "label": "choose another with --label, or change it in the file that it comes from",
    "benchmark": "change the `name` of its class",
}
TITLES: dict[Kind, str] = {"run": "run's name", "label": "label", "benchmark": "benchmark's name"}
ITERATION_SUFFIX = re.compile(r"(.*)@(\d+)", re.DOTALL)
"""What `--run NAME@ITERATION` looks like."""
RESERVED: dict[Kind, frozenset[str]] = {
    "run": frozenset({"run.json"}),
    "label": frozenset(),
    "benchmark": frozenset({"bridge"}),
}
"""Parts of a name that are files and folders of the workspace's own."""


def check_name(name: str, kind: Kind) -> str:
    """Return a name that can be used.

    Args:
        name: of a run, whose parts `/` separates, of a contestant, or of a benchmark.
        kind: which of them.

    Raises:
        ConfigError: it is empty, too long or not printable, leaves the workspace, or reads like
            something else: why, and how to choose another.
    """
    if problem := name_problem(name, kind):
        raise ConfigError(f"the {TITLES[kind]} {shorten(repr(name))} {problem}: {REMEDIES[kind]}")
    return name


def name_problem(name: str, kind: Kind) -> str | None:
    """Return why a name cannot be used; None if it can."""
    if not name.strip():
        return "is empty"
    if not name.isprintable():
        return "holds characters that cannot be printed"
    if name != name.strip():
        return "begins or ends with a blank"
    if len(name.encode()) > MAX_BYTES:
        return f"has more than {MAX_BYTES} bytes"
    if leaves_directory(name):
        return "is a path that leaves the workspace"
    if RESERVED[kind] & set(name.split("/")):
        return f"holds a name of the workspace's own ({', '.join(sorted(RESERVED[kind]))})"
    return _run_name_problem(name) if kind == "run" else None


def leaves_directory(name: str) -> bool:
    """Return whether a name, as a path below a directory, may lie outside of it."""
    return ".." in re.split(r"[/\\]", name) or name.startswith(("/", "~/"))


def _run_name_problem(name: str) -> str | None:
    if ITERATION_SUFFIX.fullmatch(name):
        return "ends like the iteration of a run (NAME@ITERATION)"
    parts = name.split("/")
    if "" in parts or "." in parts:
        return "has an empty part or the part `.` between slashes"
    return None
