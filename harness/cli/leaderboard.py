"""`harness leaderboard`: results side by side, in seven formats."""

from __future__ import annotations

import json
import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import display, options, printing
from harness.cli.options import RUNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.builder import TableOptions
    from leaderboard.table import Table

EXAMPLE = "Example: harness leaderboard --baseline 'iterative DPO' --format latex --to table.tex"

ColumnsOption = Annotated[
    str,
    typer.Option(
        "--columns", help="Columns, comma-separated; `all` or an unknown name lists them."
    ),
]
SortOption = Annotated[
    str, typer.Option("--sort", help="Sort by a column; -NAME reverses the order.")
]
GroupOption = Annotated[
    str, typer.Option("--group", help="Group rows by base, method or iteration.")
]
BaselineOption = Annotated[
    str, typer.Option("--baseline", help="Mark with † the rows that differ from this one.")
]
DifferencesOption = Annotated[
    bool, typer.Option("--differences", help="Show differences from the baseline.")
]
WideOption = Annotated[bool, typer.Option("--wide", help="One table for all benchmarks.")]
PoolOption = Annotated[
    bool, typer.Option("--pool-seeds", help="Pool the seeds of a setting into one row.")
]
SweepOption = Annotated[str, typer.Option("--sweep", help="Show only the runs of this sweep.")]
PublishedOption = Annotated[
    list[str] | None,
    typer.Option("--published", help="Add the published figures of a document, or of `all`."),
]
SplitOption = Annotated[
    bool, typer.Option("--split", help="Split LaTeX tables that are too wide for a page.")
]
PaperOption = Annotated[
    str,
    typer.Option(
        "--paper", help="Reproduce a document's tables beside measured figures, e.g. inpo."
    ),
]
TemplateOption = Annotated[
    Path | None, typer.Option("--template", help="A Jinja template: .tex, .html, .md, ...")
]
CheckOption = Annotated[
    Path | None,
    typer.Option("--check", help="Recompute the numbers printed in a paper, and compare."),
]
ToOption = Annotated[Path | None, typer.Option("--to", help="Write to this file.")]


class Format(StrEnum):
    """An output format of tables."""

    RICH = "rich"
    MD = "md"
    LATEX = "latex"
    CSV = "csv"
    HTML = "html"
    SVG = "svg"
    JSON = "json"


def command(
    output_format: Annotated[
        Format, typer.Option("--format", help="The output format.")
    ] = Format.RICH,
    bench: Annotated[str, typer.Option("--bench", help="Show only this benchmark.")] = "",
    columns: ColumnsOption = "",
    sort: SortOption = "",
    group: GroupOption = "",
    baseline: BaselineOption = "",
    differences: DifferencesOption = False,
    wide: WideOption = False,
    pool: PoolOption = False,
    sweep: SweepOption = "",
    published: PublishedOption = None,
    paper: PaperOption = "",
    split: SplitOption = False,
    template: TemplateOption = None,
    check: CheckOption = None,
    to: ToOption = None,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Print results side by side, with intervals, judges and counts.

    Bold (or *) marks the best results and those not significantly different from the best in
    paired tests; † marks results that differ significantly from --baseline. Figures of different
    judges, baselines or protocol versions never share a column; published figures have tables of
    their own, titled with the document.
    """
    from leaderboard.builder import TableOptions, build_tables, check_paper

    if check is not None:
        result = check_paper(check, root)
        counts = {"tables": result.tables, "numbers": result.numbers}
        text = f"{check}: {result.numbers} numbers of {result.tables} tables match the results"
        if as_json:
            display.print_json(counts)
        else:
            printing.print_line(text)
        return
    choice = TableOptions(
        bench=bench,
        columns=tuple(name.strip() for name in columns.split(",") if name.strip()),
        sort=sort,
        group=group,
        baseline=baseline,
        differences=differences,
        wide=wide,
        pool=pool,
        sweep=sweep,
        published=tuple(published or ()),
        paper=paper,
        split=split,
    )
    result_tables, omissions = build_tables(root, choice)
    for line in omissions:
        printing.notify(line)
    output_format = Format.JSON if as_json else output_format
    write_output(render_tables(output_format.value, result_tables, choice, template), to)


def render_tables(
    output_format: str, tables: Sequence[Table], choice: TableOptions, template: Path | None
) -> str:
    """Render tables in a format, or with a template."""
    from leaderboard import formats, latex
    from leaderboard.template import render_template

    if template is not None:
        return render_template(template, tables, choice.to_data())
    match output_format:
        case "rich":
            is_terminal = sys.stdout.isatty()
            width = max(formats.MIN_WIDTH, shutil.get_terminal_size().columns)
            return formats.render_rich(
                tables, color=is_terminal, width=width if is_terminal else None
            )
        case "md":
            return formats.render_markdown(tables)
        case "latex":
            return latex.render_latex(tables, choice.to_data())
        case "csv":
            return formats.render_csv(tables)
        case "html":
            return formats.render_html(tables)
        case "svg":
            return formats.render_svg(tables)
    return json.dumps(formats.table_data(tables), indent=1, sort_keys=True) + "\n"


def write_output(text: str, to: Path | None) -> None:
    """Print a text, or write it to a file atomically."""
    from harness.core.io import write_atomically

    if to is None:
        printing.print_text(text, colours=True)
    else:
        write_atomically(to, text)
