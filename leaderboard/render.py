"""Tables as text for a terminal, for Markdown, for a spreadsheet, and as data."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from leaderboard.rows import Row
from leaderboard.table import DAGGER, Cell, Line, Section, Table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Characters that can move a cursor, hide or turn text, or that no encoding can write."""
WIDTH, NAME = 110, 32
"""Characters of a line at least, and of the first column before it is wrapped."""
STAR = "*"
"""Sets the top group apart where there is no bold."""


def plain(text: str) -> str:
    """Return text without control characters."""
    return CONTROL.sub(" ", text)


def rich_text(tables: Sequence[Table], *, colour: bool = False, width: int | None = None) -> str:
    """Draw tables for a terminal; published lines are in italics and the top group in bold."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out,
        width=width or _needed(tables),
        color_system="standard" if colour else None,
        force_terminal=colour,
    )
    _draw(tables, console)
    return out.getvalue()


def svg(tables: Sequence[Table]) -> str:
    """Draw tables as a picture that needs no font from elsewhere."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(file=io.StringIO(), width=_needed(tables), record=True, color_system=None)
    _draw(tables, console)
    style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="harness leaderboard", code_format=style, unique_id="table")


def _draw(tables: Sequence[Table], console: Console) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    for table in tables:
        title = Text(plain(table.title)) if table.title else None
        drawn = RichTable(title=title, title_justify="left")
        for i, column in enumerate(table.columns):
            heading = "\n".join(filter(None, (plain(column.group), plain(column.heading))))
            justify: Literal["left", "right"] = "right" if column.number else "left"
            drawn.add_column(
                Text(heading), justify=justify, min_width=_least(table, i), overflow="fold"
            )
        for section in table.sections:
            _draw_section(section, drawn, len(table.columns))
        console.print(drawn)
        for note in table.told(f"{STAR} (bold)"):
            console.print(Text(plain(note)))


def _least(table: Table, i: int) -> int:
    """Return how wide a column must be to cut no word of its head and nothing below."""
    words = f"{table.columns[i].group} {table.columns[i].heading}".split()
    texts = [_starred(line.cells[i]) for s in table.sections for line in s.lines]
    widest = max(map(len, texts), default=0)
    return max([min(widest, NAME) if i == 0 else widest, *map(len, words)])


def _needed(tables: Sequence[Table]) -> int:
    """Return the width that the widest table needs."""
    widths = [sum(_least(t, i) + 3 for i in range(len(t.columns))) + 1 for t in tables]
    return max([WIDTH, *widths])


def _draw_section(section: Section, drawn: Any, columns: int) -> None:
    from rich.text import Text

    if drawn.row_count:
        drawn.add_section()
    if section.title:
        drawn.add_row(Text(plain(section.title), style="italic"), *[""] * (columns - 1))
        drawn.add_section()
    for line in section.lines:
        drawn.add_row(*(_styled(cell, section.published) for cell in line.cells))


def _styled(cell: Cell, published: bool) -> Text:
    from rich.text import Text

    style = "italic" if published else "bold" if cell.top else ""
    return Text(plain(_starred(cell)), style=style)


def _starred(cell: Cell) -> str:
    return cell.text + STAR * cell.top + DAGGER * cell.differs


def markdown(tables: Sequence[Table]) -> str:
    """Write tables as GitHub's Markdown."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    rule = "|".join(" ---: " if column.number else " --- " for column in table.columns)
    lines = [f"**{escaped(table.title)}**", ""] if table.title else []
    lines += [_line([escaped(heading) for heading in table.headings]), f"|{rule}|"]
    for section in table.sections:
        if section.title:
            lines.append(_line([f"*{escaped(section.title)}*", *[""] * (len(table.columns) - 1)]))
        for line in section.lines:
            lines.append(_line([_emphasised(cell, section.published) for cell in line.cells]))
    notes = "\n\n".join(escaped(note, but="*") for note in table.told("**bold**"))
    return "\n".join([*lines, "", notes, ""])


def _emphasised(cell: Cell, published: bool) -> str:
    text = escaped(cell.text)
    if not text:
        return ""
    mark = "**" if cell.top else "*" if published else ""
    return f"{mark}{text}{mark}{DAGGER * cell.differs}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escaped(text: str, but: str = "") -> str:
    """Return text that Markdown prints as it is."""
    special = "".join(c for c in r"\\`*_{}\[\]<>#|~" if c not in but)
    return re.sub(rf"([{special}])", r"\\\1", plain(text)).strip()


def comma_separated(tables: Sequence[Table]) -> str:
    """Write tables as CSV: a figure, its bounds and its marks in columns of their own.

    A text that a spreadsheet would take for a formula is quoted.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for table in tables:
        heads = zip(table.columns, table.headings, strict=True)
        names = [name for column, head in heads for name in _names(head, column.figure)]
        writer.writerow([_harmless(plain(name)) for name in ("table", "section", *names)])
        for section, line in _lines(table):
            pairs = zip(table.columns, line.cells, strict=True)
            parts = [part for column, cell in pairs for part in _parts(cell, column.figure)]
            told = (table.title, section.title, *parts)
            writer.writerow([_harmless(plain(part)) for part in told])
    return out.getvalue()


def _names(heading: str, figure: bool) -> list[str]:
    return (
        [heading, *(f"{heading}, {p}" for p in ("low", "high", "marks"))] if figure else [heading]
    )


def _parts(cell: Cell, figure: bool) -> list[str]:
    if not figure:
        return [cell.text]
    if cell.figure is None:
        return ["", "", "", ""]
    numbers = (cell.figure.value, cell.figure.low, cell.figure.high)
    texts = ["" if n is None else f"{n:.{cell.digits}f}" for n in numbers]
    return [*texts, STAR * cell.top + DAGGER * cell.differs]


def _harmless(cell: str) -> str:
    number = re.fullmatch(r"-?\d+(\.\d+)?", cell)
    formula = cell.lstrip().startswith(("=", "+", "-", "@", "|", "%"))
    return f"'{cell}" if formula and not number else cell


def data(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return tables as plain data; figures in full, with their bounds and marks."""
    return [
        {
            "title": table.title,
            "headings": list(table.headings),
            "rows": [_row(table, section, line) for section, line in _lines(table)],
            "notes": table.told("top"),
        }
        for table in tables
    ]


def _row(table: Table, section: Section, line: Line) -> dict[str, Any]:
    cells = zip(table.headings, line.cells, strict=True)
    return {
        "cells": {heading: _value(cell) for heading, cell in cells},
        "published": section.published,
        "section": section.title,
        "from": [_provenance(row) for row in line.rows],
    }


def _provenance(row: Row) -> dict[str, Any]:
    """Return where a row is from: all that was told but hours, which are never the same twice."""
    names = ("source", "benchmark", "judge", "baseline", "protocol", "scoring", "run", "base")
    more = ("iteration", "judged_with", "versions", "notes")
    told = {name: getattr(row, name) for name in (*names, *more)}
    seeds = [each.seed for each in row.repeats or (row,) if each.seed is not None]
    told |= {"seeds": seeds, "setting": row.setting}
    return {name: value for name, value in told.items() if value not in ("", None, {}, (), [])}


def _value(cell: Cell) -> Any:
    if cell.figure is None:
        return cell.text
    parts = {name: getattr(cell.figure, name) for name in ("value", "low", "high")}
    error = {"standard_error": cell.figure.standard_error}
    return {**parts, **error, "text": cell.text, "top": cell.top, "differs": cell.differs}


def _lines(table: Table) -> Iterator[tuple[Section, Line]]:
    return ((section, line) for section in table.sections for line in section.lines)
