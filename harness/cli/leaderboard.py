"""`harness leaderboard`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from harness.cli import screen, tables
from harness.cli.screen import RUNS

EXAMPLE = "Example: harness leaderboard --baseline 'iterative DPO' --format latex --to table.tex"


class Format(StrEnum):
    """What a table can be written as."""

    RICH = "rich"
    MD = "md"
    LATEX = "latex"
    CSV = "csv"
    HTML = "html"
    SVG = "svg"
    JSON = "json"


def command(
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.RICH,
    bench: Annotated[str, typer.Option("--bench", help="Only this benchmark.")] = "",
    names: tables.ColumnsOption = "",
    sort: tables.SortOption = "",
    group: tables.GroupOption = "",
    baseline: tables.BaselineOption = "",
    differences: tables.DifferencesOption = False,
    wide: tables.WideOption = False,
    pool: tables.PoolOption = False,
    published: tables.PublishedOption = None,
    paper: tables.PaperOption = "",
    template: tables.TemplateOption = None,
    check: tables.CheckOption = None,
    to: tables.ToOption = None,
    root: screen.WorkspaceOption = RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Print results side by side, with intervals, judge and counts.

    Set apart (bold, *) is who is not told from the highest by paired tests; † marks who differs
    from --baseline. Figures of different judges, baselines or protocol versions never share a
    column, and published ones stand under a title that names the document.
    """
    from leaderboard.choice import Choice
    from leaderboard.making import checked, made

    if check is not None:
        found = checked(check, root)
        told = {"tables": found.tables, "numbers": found.numbers}
        text = f"{check}: {found.numbers} numbers of {found.tables} tables are as the results give"
        screen.show(told) if as_json else typer.echo(text)
        return
    choice = Choice(
        bench=bench,
        columns=tuple(name.strip() for name in names.split(",") if name.strip()),
        sort=sort,
        group=group,
        baseline=baseline,
        differences=differences,
        wide=wide,
        pool=pool,
        published=tuple(published or ()),
        paper=paper,
    )
    shown, left_out = made(root, choice)
    for line in left_out:
        screen.say(line)
    form = Format.JSON if as_json else form
    tables.give(tables.written(form.value, shown, choice, template), to)
