"""The commit that the harness runs from, where it runs from a checkout.

Packages that not every training needs.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from harness.core import versions
from harness.errors import MissingDependencyError

ROOT = Path(__file__).parents[2]
DIRTY_SUFFIX = "+dirty"
"""Marks a commit whose tracked files have been changed since."""
GIT_TIMEOUT = 10.0
"""Seconds after which git counts as gone."""


def commit(root: Path = ROOT) -> str | None:
    """Return the commit of a checkout, marked where it has changed; None where it is none.

    A repository further up that only holds an installed copy is not ours.
    """
    if not (root / ".git").exists():
        return None
    revision = _git(root, "rev-parse", "--verify", "HEAD")
    if not revision:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return revision + DIRTY_SUFFIX if changes is None or changes else revision


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git says; None where it is not installed, refuses, or does not answer."""
    # whoever runs us from a hook of another repository has told git of that one
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "--no-optional-locks", "-C", str(root), *arguments)
    try:
        completed = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return completed.stdout.strip()


def import_package(name: str, advice: str) -> Any:
    """Return a package.

    Raises:
        MissingDependencyError: it is not installed; `advice` says who needs it and what to do.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(advice) from error


@functools.cache
def installed_versions() -> dict[str, str]:
    """Return the versions of what results depend on, and the commit of a checkout."""
    packages = {"python": platform.python_version()}
    if revision := versions.commit():
        packages["commit"] = revision
    for name in ("preference-harness", "torch", "transformers", "vllm", "numpy", "scikit-learn"):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return packages
