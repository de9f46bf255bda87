"""What is left out of a training, as one table: why, how many, and an example."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.core.io import write_atomically
from harness.core.terminal import one_line

LOGGER = logging.getLogger(__name__)
DROPPED_FILE = "dropped.json"
MUCH = 0.2
"""The share of what there is; to leave out more is worth a warning."""
EXAMPLE = 60
"""Characters of an example."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What is left out for one reason."""

    reason: str
    count: int
    example: str


class DropTable:
    """Counts what is left out, by reason, and keeps the first example of each."""

    def __init__(self, rows: Sequence[Dropped] = ()) -> None:
        self._rows = {row.reason: row for row in rows}

    def add(self, reason: str, example: str = "", count: int = 1) -> None:
        """Count something that is left out."""
        row = self._rows.get(reason) or Dropped(reason, 0, one_line(example, EXAMPLE))
        self._rows[reason] = replace(row, count=row.count + count)

    @property
    def rows(self) -> tuple[Dropped, ...]:
        """The reasons, the most frequent first."""
        return tuple(sorted(self._rows.values(), key=lambda row: -row.count))

    @property
    def count(self) -> int:
        """How many are left out."""
        return sum(row.count for row in self._rows.values())

    def largest(self) -> str:
        """Return the most frequent reason with its count; empty: nothing is left out."""
        return next((f"{row.reason}: {row.count}" for row in self.rows), "")

    def lines(self, what: str, total: int) -> list[str]:
        """Return the table as lines of text, the first of them a heading.

        Args:
            what: what is counted, e.g. `prompts of iteration 1`.
            total: how many there were.
        """
        if not self._rows:
            return []
        width = max(len(row.reason) for row in self.rows)
        lines = [
            f"  {row.reason:<{width}}  {row.count:>7}  {row.example}".rstrip() for row in self.rows
        ]
        return [f"{what}: {self.count} of {total} are dropped", *lines]

    def report(self, what: str, total: int) -> None:
        """Log the table, as a warning if more than a fifth is left out."""
        level = logging.WARNING if self.count > MUCH * total else logging.INFO
        for number, line in enumerate(self.lines(what, total)):
            is_warning = level == logging.WARNING and number == 0
            LOGGER.log(level, "%s%s", "warning: " if is_warning else "", line)

    def write(self, directory: Path) -> None:
        """Write the table beside a stage's result."""
        rows = [asdict(row) for row in self.rows]
        write_atomically(directory / DROPPED_FILE, json.dumps(rows, indent=1))
