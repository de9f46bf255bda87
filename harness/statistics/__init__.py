"""Estimators and intervals; the names below are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.statistics.bootstrap import interval as interval
    from harness.statistics.bootstrap import paired_bootstrap as paired_bootstrap
    from harness.statistics.bootstrap import ratio_interval as ratio_interval

__all__ = ["interval", "paired_bootstrap", "ratio_interval"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("harness.statistics.bootstrap"), name)
