"""Tables of a leaderboard: cells under headings, in sections, with notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from harness.types import Estimate
from leaderboard.columns import DASH, format_interval
from leaderboard.html import render_html_template
from leaderboard.rows import Row

if TYPE_CHECKING:
    import pandas as pd

DAGGER = "†"

EstimateData = dict[str, float | None]
"""An estimate as plain data: `value`, `low`, `high` and what a reader of it needs besides."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: an estimate with its text, or a text alone."""

    text: str
    estimate: Estimate | None = None
    digits: int = 1
    top: bool = False
    """Whether it is not significantly different from the best."""
    differs: bool = False
    """Whether it is significantly different from the baseline."""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column."""

    heading: str
    group: str = ""
    """A heading above this one, shared with neighbouring columns."""
    is_numeric: bool = False
    holds_estimates: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """The cells of one contestant, and the rows that they are taken from."""

    cells: tuple[Cell, ...]
    sources: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under a title; published rows are never in a section with measured ones."""

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
    """What bold means; empty where nothing is bold."""
    differs_note: str = ""
    """What a dagger means; empty without a baseline."""

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings in one line each."""
        return tuple(f"{c.group}: {c.heading}" if c.group else c.heading for c in self.columns)

    @property
    def column_groups(self) -> list[tuple[str, int]]:
        """The headings above the columns, each with its width; empty where there are none."""
        if not any(column.group for column in self.columns):
            return []
        groups = groupby(self.columns, lambda column: column.group)
        return [(name, len(list(members))) for name, members in groups]

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """The texts of all rows."""
        rows = (row for section in self.sections for row in section.rows)
        return tuple(tuple(cell.text for cell in row.cells) for row in rows)

    def annotated_notes(self, top_mark: str) -> list[str]:
        """Return the notes; `top_mark` says how the top group is marked (`bold`)."""
        top_notes = [f"{top_mark}: {self.top_note}"] if self.top_note else []
        differs_notes = [f"{DAGGER}: {self.differs_note}"] if self.differs_note else []
        return [*self.notes, *top_notes, *differs_notes]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a contestant, at full precision; needs pandas.

        An estimate has three columns: its heading, and the same with `, low` and `, high` for the
        ends of its 95 % interval. `section` is there where the table has titled sections. Whatever
        is not known is missing.
        """
        import pandas as pd

        records = []
        for section in self.sections:
            for row in section.rows:
                record: dict[str, Any] = {"section": section.title}
                for column, heading, cell in zip(
                    self.columns, self.headings, row.cells, strict=True
                ):
                    record |= _frame_values(column, heading, cell)
                records.append(record)
        frame = pd.DataFrame.from_records(records)
        has_sections = any(section.title for section in self.sections)
        return frame if has_sections or frame.empty else frame.drop(columns="section")

    def _repr_html_(self) -> str:
        return render_html_template("table.html", table=self)


def _frame_values(column: Column, heading: str, cell: Cell) -> dict[str, Any]:
    if column.holds_estimates:
        names = (heading, f"{heading}, low", f"{heading}, high")
        estimate = cell.estimate
        ends = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
        return dict(zip(names, ends, strict=True))
    if not column.is_numeric:
        return {heading: cell.text}
    try:
        return {heading: float(cell.text)}
    except ValueError:
        return {heading: None if cell.text in ("", DASH) else cell.text}


def estimate_data(estimate: Estimate) -> EstimateData:
    """Return an estimate's value and 95 % interval as plain data."""
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def estimate_cell(estimate: Estimate | None, digits: int, *, top: bool, differs: bool) -> Cell:
    """Return the cell of an estimate, or a dash."""
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
