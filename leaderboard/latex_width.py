"""Widths of tables in LaTeX, estimated, so that a table fits between the margins of a page.

The widths of letters are those of Computer Modern, in classes; they are a few percent on the wide
side. A table is set in the largest of three sizes in which it fits, and can be split by columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from leaderboard.columns import DASH
from leaderboard.table import Cell, Column, Table

TEXT_WIDTH = 345.0
"""Points between the margins of LaTeX's article class on letter paper, the narrowest in use."""
LETTER_WIDTHS = (
    ("ijlI.,:;|!'()[] ", 0.31),
    ("frt-/", 0.4),
    ("mwMW%@", 0.9),
    ("ACDGHNOQUVXY", 0.77),
)
"""Widths in ems, by letter; others below."""
OTHER_WIDTH, CAPITAL_WIDTH = 0.52, 0.7
INTERVAL_SIZE = 7.0
"""The size of intervals, in points, whatever the table's."""
RELATIVE_WIDTHS = {9.0: 1.04, 8.0: 1.07, 7.0: 1.15}
"""By size in points: widths relative to those of 10 points; small letters are cut wider."""
BOLD_WIDTH = 1.15
"""Width of bold digits relative to others."""
THIN_SPACE = 2.0
"""Points between a number and its interval."""
NAME_SHARE = 0.35
"""The share of the text's width beyond which the first column is broken into lines."""
TEXT_SHARE = 0.6
"""The same for another column of texts."""
HEADING_WIDTH = 16
"""Letters of a heading's line at most, where words allow it."""


@dataclass(frozen=True, slots=True)
class TableFormat:
    """The size of a table's letters, and the space on each side of a column, in points."""

    command: str
    size: float
    space: float


FORMATS = (
    TableFormat(r"\small", 9.0, 5.0),
    TableFormat(r"\footnotesize", 8.0, 4.0),
    TableFormat(r"\scriptsize", 7.0, 2.5),
)
"""From the largest on."""


def choose_format(table: Table) -> TableFormat:
    """Return the largest layout in which a table fits, or the smallest."""
    fitting = (layout for layout in FORMATS if table_width(table, layout) <= TEXT_WIDTH)
    return next(fitting, FORMATS[-1])


def table_width(table: Table, layout: TableFormat) -> float:
    """Return a table's width in points."""
    widths = _column_widths(table, layout)
    return sum(widths) + 2 * layout.space * (len(widths) - 1)


def split_columns(table: Table) -> list[Table]:
    """Return tables that fit, each with the first column and some of the others, in order.

    A column that is too wide by itself has a table of its own.
    """
    parts: list[list[int]] = [[0]]
    for i in range(1, len(table.columns)):
        wider = table_width(_with_columns(table, [*parts[-1], i]), FORMATS[0])
        if len(parts[-1]) > 1 and wider > TEXT_WIDTH:
            parts.append([0])
        parts[-1].append(i)
    *others, last = [_with_columns(table, part) for part in parts]
    return [*(replace(part, notes=(), top_note="", differs_note="") for part in others), last]


def _with_columns(table: Table, indices: Sequence[int]) -> Table:
    sections = tuple(
        replace(
            section,
            rows=tuple(
                replace(row, cells=tuple(row.cells[i] for i in indices)) for row in section.rows
            ),
        )
        for section in table.sections
    )
    columns = tuple(table.columns[i] for i in indices)
    return replace(table, columns=columns, sections=sections)


def heading_lines(heading: str, columns: int = 1) -> list[str]:
    """Return a heading above some columns in lines, broken between words where it is long."""
    lines = [""]
    for word in heading.split():
        joined = f"{lines[-1]} {word}".strip()
        if lines[-1] and len(joined) > HEADING_WIDTH * columns:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def broken_width(table: Table, i: int, layout: TableFormat) -> float | None:
    """Return the width at which a column of long texts is broken into lines; None: it is not."""
    column = table.columns[i]
    if column.holds_estimates or (i and column.is_numeric):
        return None
    most = (TEXT_SHARE if i else NAME_SHARE) * TEXT_WIDTH
    widest = max((text_width(c.text, layout.size) for c in _cells(table, i)), default=0.0)
    return most if widest > most else None


def _column_widths(table: Table, layout: TableFormat) -> list[float]:
    widths = [
        broken_width(table, i, layout)
        or max(
            _heading_width(column, layout),
            max((_cell_width(cell, column, layout) for cell in _cells(table, i)), default=0.0),
        )
        for i, column in enumerate(table.columns)
    ]
    return _widen_to_groups(table, widths, layout)


def _widen_to_groups(table: Table, widths: list[float], layout: TableFormat) -> list[float]:
    """Return widths at which the columns of a group are as wide as the group's heading."""
    start = 0
    for group, count in table.column_groups:
        lines = heading_lines(group, count)
        needed = max(text_width(line, layout.size) for line in lines)
        available = sum(widths[start : start + count]) + 2 * layout.space * (count - 1)
        start += count
        widths[start - 1] += max(0.0, needed - available)
    return widths


def _cells(table: Table, i: int) -> list[Cell]:
    return [row.cells[i] for section in table.sections for row in section.rows]


def _heading_width(column: Column, layout: TableFormat) -> float:
    return max(text_width(line, layout.size) for line in heading_lines(column.heading or DASH))


def _cell_width(cell: Cell, column: Column, layout: TableFormat) -> float:
    if not column.holds_estimates or cell.estimate is None:
        return text_width(cell.text, layout.size)
    number, _, interval = cell.text.partition(" ")
    bold = BOLD_WIDTH if cell.top else 1.0
    small = text_width(interval, INTERVAL_SIZE) + text_width("+" * cell.differs, layout.size)
    return bold * text_width(number, layout.size) + THIN_SPACE + small


def text_width(text: str, size: float) -> float:
    """Return the width of a text in points, at a size in points."""
    return size * RELATIVE_WIDTHS.get(size, 1.0) * sum(map(_letter_width, text))


def _letter_width(letter: str) -> float:
    for letters, width in LETTER_WIDTHS:
        if letter in letters:
            return width
    return CAPITAL_WIDTH if letter.isupper() else OTHER_WIDTH
