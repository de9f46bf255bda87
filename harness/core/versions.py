"""The versions of the packages that results depend on, and the harness's own commit."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from harness.errors import MissingDependencyError

ROOT = Path(__file__).parents[2]
DIRTY_SUFFIX = "+dirty"
"""Marks a commit whose tracked files have been changed since."""
GIT_TIMEOUT = 10.0
"""Seconds after which git is taken to be absent."""
PACKAGES = ("preference-harness", "torch", "transformers", "vllm", "numpy", "scikit-learn")


@functools.cache
def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`, and the commit of a checkout."""
    versions = {"python": platform.python_version()}
    if revision := commit():
        versions["commit"] = revision
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def commit(root: Path = ROOT) -> str | None:
    """Return the commit of the checkout at `root`, marked if it has changes; None without one.

    A repository further up that merely contains an installed copy does not count.
    """
    if not (root / ".git").exists():
        return None
    revision = _git(root, "rev-parse", "--verify", "HEAD")
    if not revision:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return revision + DIRTY_SUFFIX if changes is None or changes else revision


def _git(root: Path, *arguments: str) -> str | None:
    # a hook of another repository that runs us has set git's variables to that repository
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
    """Import an optional package.

    Args:
        name: the module's name.
        advice: the error message: what needs the package, and how to install it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(advice) from error
