"""`harness import` and `harness export`: results in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import benches, grading, screen
from harness.cli.screen import RUNS

IMPORT = "Example: harness import alpaca-eval annotations.json"
EXPORT = "Example: harness export alpaca-eval INPO --to published"


def bring(
    bench: grading.BenchArgument,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Annotations, judgments, battles.")],
    label: Annotated[str | None, typer.Option("--label", help="Only this contestant.")] = None,
    compat: grading.CompatOption = None,
    assets: screen.AssetsOption = None,
    overrides: screen.SetOption = None,
    root: screen.WorkspaceOption = RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Score a file's verdicts and file them as results, as if they had been asked here."""
    from harness.evaluation.scoring import import_file

    benchmark = benches.benchmark(bench, overrides or [], assets, compat)
    told(import_file(benchmark, path, screen.workspace(root), label), as_json)


def give(
    bench: grading.BenchArgument,
    label: Annotated[str, typer.Argument(help="What the result is called.")],
    folder: Annotated[Path, typer.Option("--to", help="The folder for the files.")],
    assets: screen.AssetsOption = None,
    root: screen.WorkspaceOption = RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Write a result's answers and verdicts in the formats of the protocol's own tool."""
    from harness.evaluation.scoring import export

    benchmark = benches.benchmark(bench, [], assets, None)
    told(export(benchmark, screen.workspace(root), label, folder), as_json)


def told(paths: list[Path], as_json: bool) -> None:
    """Print where something was written."""
    if as_json:
        screen.show([str(path) for path in paths])
        return
    for path in paths:
        typer.echo(str(path))
