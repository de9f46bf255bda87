"""Tables as they are written: cells under headings, in sections, with what a reader must know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.types import Estimate
from leaderboard.columns import interval
from leaderboard.rows import Row

DAGGER = "†"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place; a figure is written from its estimate, anything else as text."""

    text: str
    figure: Estimate | None = None
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
    number: bool = False
    figure: bool = False
    """Whether estimates stand in it."""


@dataclass(frozen=True, slots=True)
class Line:
    """The cells of one contestant, and where they are from."""

    cells: tuple[Cell, ...]
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """Lines that belong together; published ones are never in a section with measured ones."""

    title: str
    lines: tuple[Line, ...]
    published: bool = False


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
        lines = (line for section in self.sections for line in section.lines)
        return tuple(tuple(cell.text for cell in line.cells) for line in lines)

    def told(self, top: str) -> list[str]:
        """Return the notes, given how the top group is set apart (`bold`)."""
        marked = [f"{top}: {self.top_note}"] if self.top_note else []
        differing = [f"{DAGGER}: {self.differs_note}"] if self.differs_note else []
        return [*self.notes, *marked, *differing]


def figure(estimate: Estimate | None, digits: int, *, top: bool, differs: bool) -> Cell:
    """Return the cell of a figure, or a dash."""
    if estimate is None:
        return Cell(interval(None))
    return Cell(interval(estimate, digits), estimate, digits, top, differs)


def of_texts(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: tuple[str, ...] = (),
) -> Table:
    """Return a table of plain texts; the first column is text, the others are numbers."""
    columns = tuple(Column(heading, number=i > 0) for i, heading in enumerate(headings))
    lines = tuple(Line(tuple(Cell(text) for text in row)) for row in rows)
    return Table(title, columns, (Section("", lines),), notes)
