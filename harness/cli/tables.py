"""What `harness leaderboard` can be asked, and how its tables are given out."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leaderboard.choice import Choice
    from leaderboard.table import Table

ColumnsOption = Annotated[
    str, typer.Option("--columns", help="Names with commas between; `all`, or a wrong one, lists.")
]
SortOption = Annotated[str, typer.Option("--sort", help="A column; -NAME turns the order.")]
GroupOption = Annotated[str, typer.Option("--group", help="base, method or iteration.")]
BaselineOption = Annotated[str, typer.Option("--baseline", help="Whom † says others differ from.")]
DifferencesOption = Annotated[
    bool, typer.Option("--differences", help="How far each figure lies from the baseline's.")
]
WideOption = Annotated[bool, typer.Option("--wide", help="One table across benchmarks.")]
PoolOption = Annotated[bool, typer.Option("--pool-seeds", help="One row for a setting's seeds.")]
PublishedOption = Annotated[
    list[str] | None, typer.Option("--published", help="A document's figures beside; or `all`.")
]
PaperOption = Annotated[
    str, typer.Option("--paper", help="A document's own tables beside what is measured, e.g. inpo.")
]
TemplateOption = Annotated[
    Path | None, typer.Option("--template", help="Your own Jinja template: .tex, .html, .md, ...")
]
CheckOption = Annotated[
    Path | None, typer.Option("--check", help="Make a paper's printed numbers again and compare.")
]
ToOption = Annotated[Path | None, typer.Option("--to", help="Write it to this file.")]


def written(form: str, tables: Sequence[Table], choice: Choice, template: Path | None) -> str:
    """Return tables as text of a format, or as a template has them."""
    from leaderboard import latex, page, render
    from leaderboard.template import filled

    if template is not None:
        return filled(template, tables, choice.told())
    match form:
        case "rich":
            terminal = sys.stdout.isatty()
            width = max(render.WIDTH, shutil.get_terminal_size().columns)
            return render.rich_text(tables, colour=terminal, width=width if terminal else None)
        case "md":
            return render.markdown(tables)
        case "latex":
            return latex.latex(tables, choice.told())
        case "csv":
            return render.comma_separated(tables)
        case "html":
            return page.page(tables)
        case "svg":
            return render.svg(tables)
    return json.dumps(render.data(tables), indent=1, sort_keys=True) + "\n"


def give(text: str, to: Path | None) -> None:
    """Print a text whole, or write it to a file that is then whole."""
    from harness.files import write_whole

    if to is None:
        typer.echo(text, nl=False)
    else:
        write_whole(to, text)
