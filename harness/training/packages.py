"""Packages that not every training needs."""

from __future__ import annotations

import importlib
from typing import Any

from harness.errors import MissingDependencyError


def package(name: str, advice: str) -> Any:
    """Return a package.

    Raises:
        MissingDependencyError: it is not installed; `advice` says who needs it and what to do.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependencyError(advice) from error
