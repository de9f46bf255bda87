"""The commit that the harness runs from, where it runs from a checkout."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIRTY = "+dirty"
"""Marks a commit whose tracked files have been changed since."""
PATIENCE = 10.0
"""Seconds after which git counts as gone."""


def commit(root: Path = ROOT) -> str | None:
    """Return the commit of a checkout, marked where it has changed; None where it is none.

    A repository further up that only holds an installed copy is not ours.
    """
    if not (root / ".git").exists():
        return None
    name = _git(root, "rev-parse", "--verify", "HEAD")
    if not name:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return name + DIRTY if changed is None or changed else name


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git says; None where it is not installed, refuses, or does not answer."""
    # whoever runs us from a hook of another repository has told git of that one
    ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "--no-optional-locks", "-C", str(root), *arguments)
    try:
        done = subprocess.run(
            command, env=ours, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
