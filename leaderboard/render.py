"""Tables as text for a terminal, for Markdown, for a spreadsheet, and as data."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from leaderboard.table import Table

if TYPE_CHECKING:
    from rich.console import Console

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that can move a terminal's cursor or turn the direction of text."""


def plain(text: str) -> str:
    """Return text without control characters."""
    return CONTROL.sub(" ", text)


WIDTH = 110


def rich_text(tables: Sequence[Table]) -> str:
    """Draw tables for a terminal."""
    from rich.console import Console

    out = io.StringIO()
    _draw(tables, Console(file=out, width=WIDTH, color_system=None))
    return out.getvalue()


def svg(tables: Sequence[Table]) -> str:
    """Draw tables as a picture that needs no font from elsewhere."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDTH, record=True, color_system=None)
    _draw(tables, console)
    style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="harness leaderboard", code_format=style, unique_id="table")


def _draw(tables: Sequence[Table], console: Console) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    for table in tables:
        drawn = RichTable(title=Text(plain(table.title)), title_justify="left")
        for i, heading in enumerate(table.headings):
            drawn.add_column(heading, justify="right" if i else "left", no_wrap=i > 0)
        for cells in table.cells:
            drawn.add_row(*(Text(plain(cell)) for cell in cells))
        console.print(drawn)
        for note in table.notes:
            console.print(Text(note))


def markdown(tables: Sequence[Table]) -> str:
    """Write tables as GitHub's Markdown."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    rule = "|" + "|".join([" --- ", *[" ---: "] * (len(table.headings) - 1)]) + "|"
    lines = [f"**{_escaped(table.title)}**", "", _line(table.headings), rule]
    lines += [_line(cells) for cells in table.cells]
    return "\n".join([*lines, "", *table.notes, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", plain(text))


def comma_separated(tables: Sequence[Table]) -> str:
    """Write tables as CSV; a cell that a spreadsheet would take for a formula is quoted."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for table in tables:
        writer.writerow(("table", *table.headings))
        for cells in table.cells:
            writer.writerow([_harmless(plain(cell)) for cell in (table.title, *cells)])
    return out.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell


def data(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return tables as plain data."""
    return [
        {
            "title": table.title,
            "rows": [dict(zip(table.headings, cells, strict=True)) for cells in table.cells],
            "notes": list(table.notes),
        }
        for table in tables
    ]
