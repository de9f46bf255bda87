"""`harness leaderboard`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from harness.cli.screen import RUNS, JsonOption, WorkspaceOption, show

EXAMPLE = "Example: harness leaderboard --format md > table.md"


class Format(StrEnum):
    """What a table can be written as."""

    RICH = "rich"
    MD = "md"
    CSV = "csv"
    SVG = "svg"
    JSON = "json"


def command(
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.RICH,
    bench: Annotated[str | None, typer.Option("--bench", help="Only this benchmark.")] = None,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Print every measured result side by side, with intervals, judge and counts."""
    from harness.config import known
    from harness.errors import ConfigError
    from leaderboard import render
    from leaderboard.rows import measured
    from leaderboard.table import tables

    rows = measured(root / "results")
    benchmarks = {row.benchmark for row in rows}
    if bench is not None and bench not in benchmarks:
        raise ConfigError(f"no results for {bench!r}{known(bench, benchmarks)}")
    found = tables([row for row in rows if bench in (None, row.benchmark)])
    if as_json or form is Format.JSON:
        show(render.data(found))
        return
    write = {
        Format.RICH: render.rich_text,
        Format.MD: render.markdown,
        Format.CSV: render.comma_separated,
        Format.SVG: render.svg,
    }
    typer.echo(write[form](found), nl=False)
