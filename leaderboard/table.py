"""Tables as they are written: cells under headings, in sections, with what a reader must know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.types import Estimate
from leaderboard.columns import format_interval
from leaderboard.rows import Row

DAGGER = "†"

EstimateData = dict[str, float | None]
"""An estimate as plain data: `value`, `low`, `high` and what a reader of it needs besides."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place; a figure is written from its estimate, anything else as text."""

    text: str
    estimate: Estimate | None = None
    digits: int = 1
    top: bool = False
    """Whether it is not told from the best."""
    differs: bool = False
    """Whether it is told from the named baseline."""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column."""

    heading: str
    group: str = ""
    """What it shares with its neighbours; written above them."""
    is_numeric: bool = False
    holds_estimates: bool = False
    """Whether estimates stand in it."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """The cells of one contestant, and where they are from."""

    cells: tuple[Cell, ...]
    sources: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that belong together; published ones are never in a section with measured ones."""

    title: str
    rows: tuple[TableRow, ...]
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Sections under common heads; the first column is text."""

    title: str
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    top_note: str = ""
    """What a figure that is set apart has; empty where none is."""
    differs_note: str = ""

    @property
    def headings(self) -> tuple[str, ...]:
        """The heads in one line each."""
        return tuple(f"{c.group}: {c.heading}" if c.group else c.heading for c in self.columns)

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The texts of all lines."""
        rows = (row for section in self.sections for row in section.rows)
        return tuple(tuple(cell.text for cell in row.cells) for row in rows)

    def annotated_notes(self, top_mark: str) -> list[str]:
        """Return the notes, given how the top group is set apart (`bold`)."""
        top_notes = [f"{top_mark}: {self.top_note}"] if self.top_note else []
        differs_notes = [f"{DAGGER}: {self.differs_note}"] if self.differs_note else []
        return [*self.notes, *top_notes, *differs_notes]


def estimate_data(estimate: Estimate) -> EstimateData:
    """Return an estimate's value and 95 % interval as plain data."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def estimate_cell(estimate: Estimate | None, digits: int, *, top: bool, differs: bool) -> Cell:
    """Return the cell of a figure, or a dash."""
    if estimate is None:
        return Cell(format_interval(None))
    return Cell(format_interval(estimate, digits), estimate, digits, top, differs)


def text_table(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: tuple[str, ...] = (),
) -> Table:
    """Return a table of plain texts; the first column is text, the others are numbers."""
    columns = tuple(Column(heading, is_numeric=i > 0) for i, heading in enumerate(headings))
    table_rows = tuple(TableRow(tuple(Cell(text) for text in row)) for row in rows)
    return Table(title, columns, (Section("", table_rows),), notes)
