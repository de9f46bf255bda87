"""Tables as one HTML page that needs nothing from elsewhere and runs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from leaderboard.render import plain
from leaderboard.table import DAGGER, Cell, Column, Section, Table

HEAD = """<!doctype html>
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
FOOT = "</body>\n</html>\n"


def page(tables: Sequence[Table]) -> str:
    """Write tables as a page."""
    return HEAD + "".join(_table(table) for table in tables) + FOOT


def _table(table: Table) -> str:
    caption = f"<caption>{_text(table.title)}</caption>\n" if table.title else ""
    sections = "".join(_section(section, table.columns) for section in table.sections)
    notes = "<br>\n".join(_text(note) for note in table.told("bold"))
    return (
        f'<div class="scroll"><table>\n{caption}<thead>\n{_heads(table.columns)}</thead>\n'
        f'{sections}</table></div>\n<p class="notes">{notes}</p>\n'
    )


def _heads(columns: Sequence[Column]) -> str:
    own = "".join(
        f'<th scope="col"{_class(column)}>{_text(column.heading)}</th>' for column in columns
    )
    spans = ""
    if any(column.group for column in columns):
        groups = [(name, len(list(same))) for name, same in groupby(columns, lambda c: c.group)]
        heads = (f'<th scope="colgroup" colspan="{n}">{_text(name)}</th>' for name, n in groups)
        spans = f"<tr>{''.join(heads)}</tr>\n"
    return f"{spans}<tr>{own}</tr>\n"


def _section(section: Section, columns: Sequence[Column]) -> str:
    title = ""
    if section.title:
        span = f'<th scope="rowgroup" colspan="{len(columns)}">{_text(section.title)}</th>'
        title = f"<tr>{span}</tr>\n"
    lines = "".join(
        f"<tr>{''.join(_cell(*pair) for pair in zip(line.cells, columns, strict=True))}</tr>\n"
        for line in section.lines
    )
    kind = ' class="published"' if section.published else ""
    return f"<tbody{kind}>\n{title}{lines}</tbody>\n"


def _cell(cell: Cell, column: Column) -> str:
    text = _text(cell.text)
    shown = f"<b>{text}</b>" if cell.top else text
    return f"<td{_class(column)}>{shown}{DAGGER * cell.differs}</td>"


def _class(column: Column) -> str:
    return ' class="number"' if column.number else ""


def _text(text: str) -> str:
    return escape(plain(text))
