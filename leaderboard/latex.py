r"""Tables as LaTeX with booktabs and siunitx: a file that compiles, and that a paper can `\input`.

Every estimate takes two columns, the number (aligned by siunitx) and its interval. Every text is
escaped; a character without a glyph in pdflatex is written as its code point. A comment before each
block holds the table's options, so that `--check` can rebuild the numbers. A table is set as large
as fits between the margins of a letter page; one that fits in no size says so, and can be split.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from harness.core.terminal import printable
from leaderboard.latex_width import (
    TEXT_WIDTH,
    TableFormat,
    broken_width,
    choose_format,
    heading_lines,
    split_columns,
    table_width,
    text_width,
)
from leaderboard.table import Cell, Column, Section, Table

STACKED = r"\\"
LEADERBOARD = "leaderboard"
"""The name of a table without a benchmark's: one across benchmarks."""
BEGIN, END = "% harness leaderboard ", "% harness leaderboard ends"
PREAMBLE = r"""% needs \usepackage{booktabs,siunitx}; compiles on its own, too
\expandafter\ifx\csname @classoptionslist\endcsname\relax
\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[landscape,margin=1cm]{geometry}
\usepackage{booktabs,siunitx}
\begin{document}
\def\harnessend{\end{document}}
\else\let\harnessend\relax\fi
"""
CLOSING = "\\harnessend\n"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "–": "--",
    "—": "---",
    "†": r"\textsuperscript{\textdagger}",
    "±": r"\textpm{}",
    "×": r"\texttimes{}",
    "·": r"\textperiodcentered{}",
}
LATIN1_CODES = range(0xC0, 0x100)
"""The accented letters of Latin-1: T1 fonts have glyphs for them."""


def escape_latex(text: str) -> str:
    """Return any text as LaTeX that prints it verbatim.

    A bracket or star at the beginning is put in braces, or the preceding line end would take it as
    its argument; braces also keep repeated hyphens and quotes from becoming dashes and quotation
    marks.
    """
    cleaned = printable(text).strip()
    parts = [
        ("{}" if c == before and c in "-'" else "") + _character(c)
        for before, c in zip(f" {cleaned}", cleaned, strict=False)
    ]
    joined = "".join(parts)
    return f"{{{joined[0]}}}{joined[1:]}" if joined.startswith(("[", "*")) else joined


def _character(c: str) -> str:
    if c in SPECIAL:
        return SPECIAL[c]
    if c.isascii() or (ord(c) in LATIN1_CODES and c.isalpha()):
        return c
    return f"(U+{ord(c):04X})"


def render_latex(tables: Sequence[Table], options: Any) -> str:
    """Return tables as LaTeX.

    Args:
        tables: The tables to print.
        options: Plain data from which the same tables can be rebuilt.
    """
    header = BEGIN + json.dumps(options, sort_keys=True) + "\n"
    is_split = isinstance(options, Mapping) and bool(options.get("split"))
    parts = [part for table in tables for part in (split_columns(table) if is_split else [table])]
    printed = "\n".join(map(_table, parts, _labels(parts)))
    return PREAMBLE + header + printed + END + "\n" + CLOSING


def _labels(tables: Sequence[Table]) -> list[str]:
    """Return a label for each table, of its benchmark's name; no two are alike."""
    counts: Counter[str] = Counter()
    labels = []
    for table in tables:
        name = re.sub(r"[^a-z0-9]+", "-", table.title.partition(",")[0].lower()).strip("-")
        label = f"tab:{name or LEADERBOARD}"
        counts[label] += 1
        labels.append(f"{label}-part-{counts[label]}" if counts[label] > 1 else label)
    return labels


def _table(table: Table, label: str) -> str:
    layout = choose_format(table)
    excess = table_width(table, layout) - TEXT_WIDTH
    too_wide = (
        f"% about {excess:.0f} pt too wide for a text of {TEXT_WIDTH:.0f} pt: print it with --split"
    )
    lines = [
        r"\begin{table}",
        rf"\centering{layout.command}",
        *([too_wide] if excess > 0 else []),
        rf"\caption{{{escape_latex(table.title or LEADERBOARD)}}}",
        rf"\label{{{label}}}",
        rf"\setlength{{\tabcolsep}}{{{layout.space:g}pt}}",
        r"\sisetup{detect-weight=true}",
        rf"\begin{{tabular}}{{@{{}}{''.join(_format(table, layout))}@{{}}}}",
        r"\toprule",
        *_heads(table.columns),
    ]
    for section in table.sections:
        lines += [r"\midrule", *_section(section, table, layout)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [
        rf"\par\smallskip\footnotesize {_note(note)}" for note in table.annotated_notes("bold")
    ]
    return "\n".join([*lines, r"\end{table}", ""])


def _note(note: str) -> str:
    return escape_latex(note).replace("bold: ", r"\textbf{bold}: ", 1)


def _format(table: Table, layout: TableFormat) -> list[str]:
    formats = []
    for i, column in enumerate(table.columns):
        cells = [row.cells[i] for section in table.sections for row in section.rows]
        if column.holds_estimates:
            formats.append(rf"S[table-format={_digits(cells)}]@{{\,}}l")
        elif points := broken_width(table, i, layout):
            formats.append(rf"p{{{points:.0f}pt}}")
        else:
            formats.append("r" if column.is_numeric else "l")
    return formats


def _digits(cells: Sequence[Cell]) -> str:
    numbers = [_number(cell) for cell in cells if cell.estimate]
    integer_digits = max((len(n.partition(".")[0].lstrip("-")) for n in numbers), default=1)
    sign = "-" if any(n.startswith("-") for n in numbers) else ""
    return f"{sign}{integer_digits}.{max((len(n.partition('.')[2]) for n in numbers), default=0)}"


def _number(cell: Cell) -> str:
    assert cell.estimate is not None
    return f"{cell.estimate.value:.{cell.digits}f}"


def _heads(columns: Sequence[Column]) -> list[str]:
    heads = " & ".join(_head(column) for column in columns) + r" \\"
    if not any(column.group for column in columns):
        return [heads]
    spans, rules, start = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        spanned = list(members)
        width, count = sum(map(_width, spanned)), len(spanned)
        text = _stacked(heading_lines(group, count))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{text}}}")
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if group else []
        start += width
    return [" & ".join(spans) + r" \\", "".join(rules), heads]


def _width(column: Column) -> int:
    return 2 if column.holds_estimates else 1


def _head(column: Column) -> str:
    text = _stacked(heading_lines(column.heading))
    return rf"\multicolumn{{2}}{{c}}{{{text}}}" if column.holds_estimates else f"{{{text}}}"


def _stacked(lines: Sequence[str]) -> str:
    escaped = [escape_latex(line) for line in lines]
    return escaped[0] if len(escaped) == 1 else rf"\shortstack{{{STACKED.join(escaped)}}}"


def _section(section: Section, table: Table, layout: TableFormat) -> list[str]:
    columns, points = table.columns, min(TEXT_WIDTH, table_width(table, layout))
    width = sum(map(_width, columns))
    name = rf"\textit{{{escape_latex(section.title)}}}"
    if text_width(section.title, layout.size) > points:  # broken into lines
        name = rf"\parbox{{{points:.0f}pt}}{{{name}}}"
    title = rf"\multicolumn{{{width}}}{{@{{}}l}}{{{name}}} \\"
    lines = [
        " & ".join(
            _cell(*pair, section.is_published) for pair in zip(row.cells, columns, strict=True)
        )
        for row in section.rows
    ]
    return [*([title] if section.title else []), *(rf"{line} \\" for line in lines)]


def _cell(cell: Cell, column: Column, is_published: bool) -> str:
    if not column.holds_estimates:
        text = escape_latex(cell.text)
        return rf"\textit{{{text}}}" if is_published else text
    if cell.estimate is None:
        return f"{{{escape_latex(cell.text)}}} &"
    number = rf"\bfseries {_number(cell)}" if cell.top else _number(cell)
    interval = re.sub(r"^\S+ ?", "", cell.text)
    small = rf"{{\scriptsize {escape_latex(interval)}}}" if interval else ""
    return f"{number} & {escape_latex('†') if cell.differs else ''}{small}"
