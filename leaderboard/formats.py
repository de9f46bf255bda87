"""Tables as text for a terminal, for Markdown, for a spreadsheet, and as data.

Tables as one HTML page that needs nothing from elsewhere and runs nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from harness.core.terminal import printable
from leaderboard.rows import Row
from leaderboard.table import DAGGER, Cell, Column, Section, Table, TableRow

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


MIN_WIDTH, NAME_WIDTH = 110, 32
"""Characters of a line at least, and of the first column before it is wrapped."""
STAR = "*"
"""Sets the top group apart where there is no bold."""


def render_rich(tables: Sequence[Table], *, color: bool = False, width: int | None = None) -> str:
    """Draw tables for a terminal; published lines are in italics and the top group in bold."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out,
        width=width or _min_table_width(tables),
        color_system="standard" if color else None,
        force_terminal=color,
    )
    _print_tables(tables, console)
    return out.getvalue()


def render_svg(tables: Sequence[Table]) -> str:
    """Draw tables as a picture that needs no font from elsewhere."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    console = Console(
        file=io.StringIO(), width=_min_table_width(tables), record=True, color_system=None
    )
    _print_tables(tables, console)
    style = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="harness leaderboard", code_format=style, unique_id="table")


def _print_tables(tables: Sequence[Table], console: Console) -> None:
    from rich.table import Table as RichTable
    from rich.text import Text

    for table in tables:
        title = Text(printable(table.title)) if table.title else None
        rich_table = RichTable(title=title, title_justify="left")
        for i, column in enumerate(table.columns):
            heading = "\n".join(filter(None, (printable(column.group), printable(column.heading))))
            justify: Literal["left", "right"] = "right" if column.is_numeric else "left"
            rich_table.add_column(
                Text(heading),
                justify=justify,
                min_width=_min_column_width(table, i),
                overflow="fold",
            )
        for section in table.sections:
            _add_section(section, rich_table, len(table.columns))
        console.print(rich_table)
        for note in table.annotated_notes(f"{STAR} (bold)"):
            console.print(Text(printable(note)))


def _min_column_width(table: Table, i: int) -> int:
    """Return how wide a column must be to cut no word of its head and nothing below."""
    words = f"{table.columns[i].group} {table.columns[i].heading}".split()
    texts = [_marked_text(row.cells[i]) for s in table.sections for row in s.rows]
    widest = max(map(len, texts), default=0)
    return max([min(widest, NAME_WIDTH) if i == 0 else widest, *map(len, words)])


def _min_table_width(tables: Sequence[Table]) -> int:
    """Return the width that the widest table needs."""
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
    """Write tables as GitHub's Markdown."""
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
    """Return text that Markdown prints as it is."""
    special = "".join(c for c in r"\\`*_{}\[\]<>#|~" if c not in unescaped)
    return re.sub(rf"([{special}])", r"\\\1", printable(text)).strip()


def render_csv(tables: Sequence[Table]) -> str:
    """Write tables as CSV: a figure, its bounds and its marks in columns of their own.

    A text that a spreadsheet would take for a formula is quoted.
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
    """Return tables as plain data; figures in full, with their bounds and marks."""
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
    """Return where a row is from: all that was told but hours, which are never the same twice."""
    names = ("source", "benchmark", "judge", "baseline", "protocol", "scoring", "run", "base")
    rest = ("iteration", "judge_settings", "versions", "notes")
    fields = {name: getattr(row, name) for name in (*names, *rest)}
    seeds = [repeat.seed for repeat in row.repeats or (row,) if repeat.seed is not None]
    fields |= {"seeds": seeds, "setting": row.setting}
    return {name: value for name, value in fields.items() if value not in ("", None, {}, (), [])}


def _cell_data(cell: Cell) -> Any:
    if cell.estimate is None:
        return cell.text
    parts = {name: getattr(cell.estimate, name) for name in ("value", "low", "high")}
    error = {"standard_error": cell.estimate.standard_error}
    return {**parts, **error, "text": cell.text, "top": cell.top, "differs": cell.differs}


def _section_rows(table: Table) -> Iterator[tuple[Section, TableRow]]:
    return ((section, row) for section in table.sections for row in section.rows)


HTML_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>harness leaderboard</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { font-weight: 600; padding: .5rem 0; text-align: left; }
th, td { padding: .25rem .75rem; text-align: left; vertical-align: bottom; }
thead, tbody + tbody { border-top: 1px solid; }
tbody { border-bottom: 1px solid; border-top: 1px solid; }
.number { text-align: right; white-space: nowrap; }
.published { font-style: italic; }
.notes { font-size: .875rem; margin: .5rem 0 2rem; }
</style>
</head>
<body>
"""
HTML_FOOT = "</body>\n</html>\n"


def render_html(tables: Sequence[Table]) -> str:
    """Write tables as a page."""
    return HTML_HEAD + "".join(_html_table(table) for table in tables) + HTML_FOOT


def _html_table(table: Table) -> str:
    caption = f"<caption>{_html_text(table.title)}</caption>\n" if table.title else ""
    sections = "".join(_html_section(section, table.columns) for section in table.sections)
    notes = "<br>\n".join(_html_text(note) for note in table.annotated_notes("bold"))
    return (
        f'<div class="scroll"><table>\n{caption}<thead>\n{_html_heads(table.columns)}</thead>\n'
        f'{sections}</table></div>\n<p class="notes">{notes}</p>\n'
    )


def _html_heads(columns: Sequence[Column]) -> str:
    headings = "".join(
        f'<th scope="col"{_html_class(column)}>{_html_text(column.heading)}</th>'
        for column in columns
    )
    spans = ""
    if any(column.group for column in columns):
        groups = [
            (name, len(list(members))) for name, members in groupby(columns, lambda c: c.group)
        ]
        heads = (
            f'<th scope="colgroup" colspan="{n}">{_html_text(name)}</th>' for name, n in groups
        )
        spans = f"<tr>{''.join(heads)}</tr>\n"
    return f"{spans}<tr>{headings}</tr>\n"


def _html_section(section: Section, columns: Sequence[Column]) -> str:
    title = ""
    if section.title:
        span = f'<th scope="rowgroup" colspan="{len(columns)}">{_html_text(section.title)}</th>'
        title = f"<tr>{span}</tr>\n"
    lines = "".join(
        f"<tr>{''.join(_html_cell(*pair) for pair in zip(row.cells, columns, strict=True))}</tr>\n"
        for row in section.rows
    )
    kind = ' class="published"' if section.is_published else ""
    return f"<tbody{kind}>\n{title}{lines}</tbody>\n"


def _html_cell(cell: Cell, column: Column) -> str:
    text = _html_text(cell.text)
    shown = f"<b>{text}</b>" if cell.top else text
    return f"<td{_html_class(column)}>{shown}{DAGGER * cell.differs}</td>"


def _html_class(column: Column) -> str:
    return ' class="number"' if column.is_numeric else ""


def _html_text(text: str) -> str:
    return escape(printable(text))
