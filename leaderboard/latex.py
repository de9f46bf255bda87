r"""Tables as LaTeX with booktabs and siunitx: a file that compiles, and that a paper can `\input`.

Every estimate takes two columns, the number (aligned by siunitx) and its interval. Every text is
escaped; a character without a glyph in pdflatex is written as its code point. A comment before each
block holds the table's options, so that `--check` can rebuild the numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from harness.core.terminal import printable
from leaderboard.table import Cell, Column, Section, Table

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
    return PREAMBLE + header + "\n".join(_table(table) for table in tables) + END + "\n" + CLOSING


def _table(table: Table) -> str:
    lines = [
        r"\begin{table}",
        r"\centering\small",
        *([rf"\caption{{{escape_latex(table.title)}}}"] if table.title else []),
        r"\sisetup{detect-weight=true}",
        rf"\begin{{tabular}}{{@{{}}{''.join(_format(table))}@{{}}}}",
        r"\toprule",
        *_heads(table.columns),
    ]
    for section in table.sections:
        lines += [r"\midrule", *_section(section, table.columns)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [
        rf"\par\smallskip\footnotesize {_note(note)}" for note in table.annotated_notes("bold")
    ]
    return "\n".join([*lines, r"\end{table}", ""])


def _note(note: str) -> str:
    return escape_latex(note).replace("bold: ", r"\textbf{bold}: ", 1)


def _format(table: Table) -> list[str]:
    formats = []
    for i, column in enumerate(table.columns):
        cells = [row.cells[i] for section in table.sections for row in section.rows]
        if column.holds_estimates:
            formats.append(rf"S[table-format={_digits(cells)}]@{{\,}}l")
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
        width = sum(map(_width, members))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(group)}}}")
        rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if group else []
        start += width
    return [" & ".join(spans) + r" \\", "".join(rules), heads]


def _width(column: Column) -> int:
    return 2 if column.holds_estimates else 1


def _head(column: Column) -> str:
    text = escape_latex(column.heading)
    return rf"\multicolumn{{2}}{{c}}{{{text}}}" if column.holds_estimates else f"{{{text}}}"


def _section(section: Section, columns: Sequence[Column]) -> list[str]:
    width = sum(map(_width, columns))
    title = rf"\multicolumn{{{width}}}{{@{{}}l}}{{\textit{{{escape_latex(section.title)}}}}} \\"
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
