"""The results of a workspace with their items and verdicts, as the report loads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.workspace import GRADED_FILE, Result, graded_path, read_items, read_result
from leaderboard.measurements import read_rows
from leaderboard.rows import Row
from leaderboard.significance import Items


@dataclass(frozen=True, slots=True)
class LoadedResult:
    """One result with its row and its items."""

    row: Row
    result: Result
    items: Items
    """One row a prompt; empty where the file is missing."""
    path: Path
    """The result's file."""

    @property
    def has_verdicts(self) -> bool:
        """Whether the file with prompts, answers and verdicts is there."""
        return graded_path(self.path).is_file()


@dataclass(frozen=True, slots=True)
class ResultSet:
    """The results, and messages about those that are left out or incomplete."""

    results: tuple[LoadedResult, ...]
    messages: tuple[str, ...] = ()


def load_results(root: Path) -> ResultSet:
    """Read every result of a workspace.

    Raises:
        StoreError: no result has a verdict, two have the same label, a file is damaged, or a newer
            version wrote it.
    """
    measured_rows = read_rows(root)
    results = [_load_result(root / "results", row) for row in measured_rows.rows]
    incomplete = [result.row.source for result in results if not result.has_verdicts]
    message = (
        f"{len(incomplete)} of {len(results)} results have no {GRADED_FILE} "
        f"({_list_names(incomplete)}): their comparisons cannot be shown; run `harness eval` again "
        "to have them"
    )
    return ResultSet(tuple(results), (*measured_rows.messages, *((message,) if incomplete else ())))


def _load_result(results: Path, row: Row) -> LoadedResult:
    path = results / row.source
    items = read_items(row.items) if row.items else ()
    return LoadedResult(row, read_result(path), items, path)


def _list_names(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
