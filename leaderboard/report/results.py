"""The results of a workspace with all that lies beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from leaderboard.measurements import read_rows
from leaderboard.rows import Row
from leaderboard.significance import Items

GRADED = "graded.json"


@dataclass(frozen=True, slots=True)
class LoadedResult:
    """One result."""

    row: Row
    record: Mapping[str, Any]
    """The result's file as it is."""
    items: Items
    """One row a prompt; none where the file is missing."""
    graded_path: Path | None
    """The file with prompts, answers, verdicts; None where it is missing."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How many prompts were asked, judged, won, drawn, ..."""
        counts: Mapping[str, int] = self.record["score"]["counts"]
        return counts


@dataclass(frozen=True, slots=True)
class ResultSet:
    """The results, and what a user must know of those that are left out or incomplete."""

    results: tuple[LoadedResult, ...]
    messages: tuple[str, ...] = ()


def load_results(workspace: Path) -> ResultSet:
    """Read every result of a workspace.

    Raises:
        StoreError: there is none that counts, two have one name, a file is damaged, or it was
            written by a newer version.
    """
    measured_rows = read_rows(workspace)
    results = [_load_result(workspace / "results", row) for row in measured_rows.rows]
    incomplete = [result.row.source for result in results if result.graded_path is None]
    message = (
        f"{len(incomplete)} of {len(results)} results have no {GRADED} ({_list_names(incomplete)}): their "
        "comparisons cannot be looked at; run `harness eval` again to have them"
    )
    return ResultSet(tuple(results), (*measured_rows.messages, *((message,) if incomplete else ())))


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


def _load_result(results: Path, row: Row) -> LoadedResult:
    path = results / row.source
    graded = path.with_suffix("") / GRADED
    items = _read_items(row.items) if row.items else ()
    data = json.loads(path.read_text(encoding="utf-8"))
    return LoadedResult(row, data, items, graded if graded.is_file() else None)


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


def _list_names(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
