"""Tables for a terminal, as Markdown, CSV, SVG and HTML, and as plain data."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from harness.core.terminal import printable
from leaderboard.html import render_html_template
from leaderboard.rows import Row
from leaderboard.table import DAGGER, Cell, Section, Table, TableRow, estimate_data

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text


MIN_WIDTH, NAME_WIDTH = 110, 32
"""Minimum characters of a line, and of the first column before it is wrapped."""
STAR = "*"
"""Marks the top group where there is no bold."""


def render_rich(tables: Sequence[Table], *, color: bool = False, width: int | None = None) -> str:
    """Return tables for a terminal; published rows are in italics, the top group is bold.

    No cell is cut off: a table is wider than `width` where its cells are.
    """
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out,
        width=max(width or 0, _min_table_width(tables)),
        color_system="standard" if color else None,
        force_terminal=color,
    )
    _print_tables(tables, console)
    return out.getvalue()


def render_svg(tables: Sequence[Table]) -> str:
    """Return tables as a picture that loads no fonts."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(
        file=io.StringIO(), width=_min_table_width(tables), record=True, color_system=None
    )
    _print_tables(tables, console)
    style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="harness leaderboard", code_format=style, unique_id="table")


def _print_tables(tables: Sequence[Table], console: Console) -> None:
    from rich.measure import Measurement
    from rich.text import Text

    for table in tables:
        rich_table = _rich_table(table, fixed=False)
        unlimited = console.options.update(width=sys.maxsize)
        if Measurement.get(console, unlimited, rich_table).maximum > console.width:
            rich_table = _rich_table(table, fixed=True)
        console.print(rich_table)
        for note in table.annotated_notes(f"{STAR} (bold)"):
            console.print(Text(printable(note)))


def _rich_table(table: Table, *, fixed: bool) -> RichTable:
    """Return a table for rich, which shortens columns that are not `fixed` below their minimum."""
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(printable(table.title)) if table.title else None
    rich_table = RichTable(title=title, title_justify="left")
    for i, column in enumerate(table.columns):
        heading = "\n".join(filter(None, (printable(column.group), printable(column.heading))))
        justify: Literal["left", "right"] = "right" if column.is_numeric else "left"
        width = _min_column_width(table, i)
        rich_table.add_column(
            Text(heading),
            justify=justify,
            min_width=width,
            width=width if fixed else None,
            overflow="fold",
        )
    for section in table.sections:
        _add_section(section, rich_table, len(table.columns))
    return rich_table


def _min_column_width(table: Table, i: int) -> int:
    """Return the width at which a column breaks no word of its heading and no cell."""
    from rich.cells import cell_len

    words = f"{table.columns[i].group} {table.columns[i].heading}".split()
    texts = [_marked_text(row.cells[i]) for s in table.sections for row in s.rows]
    widest = max(map(cell_len, texts), default=0)
    return max([min(widest, NAME_WIDTH) if i == 0 else widest, *map(cell_len, words)])


def _min_table_width(tables: Sequence[Table]) -> int:
    """Return the width of the widest table."""
    widths = [sum(_min_column_width(t, i) + 3 for i in range(len(t.columns))) + 1 for t in tables]
    return max([MIN_WIDTH, *widths])


def _add_section(section: Section, rich_table: Any, column_count: int) -> None:
    from rich.text import Text

    if rich_table.row_count:
        rich_table.add_section()
    if section.title:
        rich_table.add_row(
            Text(printable(section.title), style="italic"), *[""] * (column_count - 1)
        )
        rich_table.add_section()
    for row in section.rows:
        rich_table.add_row(*(_styled(cell, section.is_published) for cell in row.cells))


def _styled(cell: Cell, is_published: bool) -> Text:
    from rich.text import Text

    style = "italic" if is_published else "bold" if cell.top else ""
    return Text(printable(_marked_text(cell)), style=style)


def _marked_text(cell: Cell) -> str:
    return cell.text + STAR * cell.top + DAGGER * cell.differs


def render_markdown(tables: Sequence[Table]) -> str:
    """Return tables as GitHub's Markdown."""
    return "\n".join(_markdown_table(table) for table in tables)


def _markdown_table(table: Table) -> str:
    rule = "|".join(" ---: " if column.is_numeric else " --- " for column in table.columns)
    lines = [f"**{escape_markdown(table.title)}**", ""] if table.title else []
    lines += [_markdown_row([escape_markdown(heading) for heading in table.headings]), f"|{rule}|"]
    for section in table.sections:
        if section.title:
            lines.append(
                _markdown_row(
                    [f"*{escape_markdown(section.title)}*", *[""] * (len(table.columns) - 1)]
                )
            )
        for row in section.rows:
            lines.append(
                _markdown_row([_emphasized(cell, section.is_published) for cell in row.cells])
            )
    notes = "\n\n".join(
        escape_markdown(note, unescaped="*") for note in table.annotated_notes("**bold**")
    )
    return "\n".join([*lines, "", notes, ""])


def _emphasized(cell: Cell, is_published: bool) -> str:
    text = escape_markdown(cell.text)
    if not text:
        return ""
    mark = "**" if cell.top else "*" if is_published else ""
    return f"{mark}{text}{mark}{DAGGER * cell.differs}"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def escape_markdown(text: str, unescaped: str = "") -> str:
    """Return text that Markdown prints verbatim."""
    special = "".join(c for c in r"\\`*_{}\[\]<>#|~" if c not in unescaped)
    return re.sub(rf"([{special}])", r"\\\1", printable(text)).strip()


def render_csv(tables: Sequence[Table]) -> str:
    """Return tables as CSV: estimates, their bounds and their marks have separate columns.

    A text that a spreadsheet would run as a formula is quoted.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for table in tables:
        heads = zip(table.columns, table.headings, strict=True)
        names = [
            name for column, head in heads for name in _csv_headings(head, column.holds_estimates)
        ]
        writer.writerow([_escape_formula(printable(name)) for name in ("table", "section", *names)])
        for section, row in _section_rows(table):
            pairs = zip(table.columns, row.cells, strict=True)
            parts = [
                part for column, cell in pairs for part in _csv_values(cell, column.holds_estimates)
            ]
            record = (table.title, section.title, *parts)
            writer.writerow([_escape_formula(printable(part)) for part in record])
    return out.getvalue()


def _csv_headings(heading: str, holds_estimates: bool) -> list[str]:
    return (
        [heading, *(f"{heading}, {p}" for p in ("low", "high", "marks"))]
        if holds_estimates
        else [heading]
    )


def _csv_values(cell: Cell, holds_estimates: bool) -> list[str]:
    if not holds_estimates:
        return [cell.text]
    if cell.estimate is None:
        return ["", "", "", ""]
    numbers = (cell.estimate.value, cell.estimate.low, cell.estimate.high)
    texts = ["" if n is None else f"{n:.{cell.digits}f}" for n in numbers]
    return [*texts, STAR * cell.top + DAGGER * cell.differs]


def _escape_formula(cell: str) -> str:
    number = re.fullmatch(r"-?\d+(\.\d+)?", cell)
    formula = cell.lstrip().startswith(("=", "+", "-", "@", "|", "%"))
    return f"'{cell}" if formula and not number else cell


def table_data(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Return tables as plain data; estimates at full precision, with bounds and marks."""
    return [
        {
            "title": table.title,
            "headings": list(table.headings),
            "rows": [_row_data(table, section, row) for section, row in _section_rows(table)],
            "notes": table.annotated_notes("top"),
        }
        for table in tables
    ]


def _row_data(table: Table, section: Section, row: TableRow) -> dict[str, Any]:
    cells = zip(table.headings, row.cells, strict=True)
    return {
        "cells": {heading: _cell_data(cell) for heading, cell in cells},
        "published": section.is_published,
        "section": section.title,
        "from": [_provenance(source) for source in row.sources],
    }


def _provenance(row: Row) -> dict[str, Any]:
    """Return a row's provenance without its hours, which differ between identical runs."""
    names = ("source", "benchmark", "judge", "baseline", "protocol", "scoring", "run", "base")
    rest = ("iteration", "judge_settings", "versions", "notes")
    fields = {name: getattr(row, name) for name in (*names, *rest)}
    fields |= {"seeds": row.seeds, "setting": row.setting}
    return {name: value for name, value in fields.items() if value not in ("", None, {}, (), [])}


def _cell_data(cell: Cell) -> Any:
    if cell.estimate is None:
        return cell.text
    error = {"standard_error": cell.estimate.standard_error}
    return {
        **estimate_data(cell.estimate),
        **error,
        "text": cell.text,
        "top": cell.top,
        "differs": cell.differs,
    }


def _section_rows(table: Table) -> Iterator[tuple[Section, TableRow]]:
    return ((section, row) for section in table.sections for row in section.rows)


def render_html(tables: Sequence[Table]) -> str:
    """Return tables as one HTML page that loads nothing and runs no script."""
    return render_html_template("tables.html", tables=tables)
