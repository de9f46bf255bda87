"""The results of a workspace with all that lies beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from leaderboard.marks import Items
from leaderboard.measured import measured
from leaderboard.rows import Row

GRADED = "graded.json"


@dataclass(frozen=True, slots=True)
class Filed:
    """One result."""

    row: Row
    result: Mapping[str, Any]
    """The result's file as it is."""
    items: Items
    """One row a prompt; none where the file is missing."""
    graded: Path | None
    """The file with prompts, answers, verdicts; None where it is missing."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many prompts were asked, judged, won, drawn, ..."""
        found: Mapping[str, int] = self.result["score"]["counts"]
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """The results, and what a user must know of those that are left out or incomplete."""

    results: tuple[Filed, ...]
    told: tuple[str, ...] = ()


def filed(workspace: Path) -> Found:
    """Read every result of a workspace.

    Raises:
        StoreError: there is none that counts, two have one name, a file is damaged, or it was
            written by a newer version.
    """
    found = measured(workspace)
    results = [_filed(workspace / "results", row) for row in found.rows]
    bare = [one.row.source for one in results if one.graded is None]
    told = (
        f"{len(bare)} of {len(results)} results have no {GRADED} ({_listed(bare)}): their "
        "comparisons cannot be looked at; run `harness eval` again to have them"
    )
    return Found(tuple(results), (*found.told, *((told,) if bare else ())))


def read_graded(path: Path) -> dict[str, Any]:
    """Read prompts, answers and verdicts as plain data.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name in ("prompts", "answers", "baseline", "verdicts"):
            iter(data[name])
        return data
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); run `harness eval` again, or remove it to go without "
            "its comparisons"
        ) from error


def _filed(results: Path, row: Row) -> Filed:
    path = results / row.source
    graded = path.with_suffix("") / GRADED
    items = _read_items(row.items) if row.items else ()
    data = json.loads(path.read_text(encoding="utf-8"))
    return Filed(row, data, items, graded if graded.is_file() else None)


def _read_items(path: Path) -> Items:
    try:
        items: Items = json.loads(path.read_text(encoding="utf-8"))
        for item in items:
            item["prompt_id"]
        return items
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); run `harness eval` again, or remove it to go without "
            "its prompts"
        ) from error


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
