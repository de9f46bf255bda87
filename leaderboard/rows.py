"""Rows: what was measured, read from a workspace's results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.types import Estimate


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one benchmark under one judge."""

    label: str
    """The method, or the policy's name."""
    benchmark: str
    judge: str
    """The model that the judge's server says it served."""
    estimates: Mapping[str, Estimate]
    """By metric, in percent."""
    asked: int
    """Prompts of the benchmark, those without an answer included."""
    judged: int
    mean_length: float | None
    """Characters an answer; None where only verdicts are known."""
    source: str
    """The file that the row was read from."""


def measured(results: Path) -> list[Row]:
    """Read every result under a folder.

    Raises:
        StoreError: there is none, or a file is damaged.
    """
    rows = [_row(path) for path in sorted(results.glob("*/*.json"))]
    if not rows:
        raise StoreError(f"no results in {results}: run `harness demo` or `harness eval` first")
    return rows


def _row(path: Path) -> Row:
    try:
        return _read(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); remove it and run `harness eval` again"
        ) from error


def _read(data: dict[str, Any], source: str) -> Row:
    score = data["score"]
    return Row(
        label=data["label"],
        benchmark=data["benchmark"],
        judge=", ".join(data["judges_served"]) or data["judge"],
        estimates={name: Estimate(**e) for name, e in score["estimates"].items()},
        asked=score["counts"]["asked"] + data["missing"],
        judged=score["counts"]["judged"],
        mean_length=data["mean_length"],
        source=source,
    )
