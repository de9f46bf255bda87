"""`harness import` and `harness export`: results in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import display, factory, options
from harness.cli.options import RUNS

IMPORT = "Example: harness import alpaca-eval annotations.json"
EXPORT = "Example: harness export alpaca-eval INPO --to published"


def import_results(
    bench: options.BenchArgument,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Annotations, judgments, battles.")],
    label: Annotated[str | None, typer.Option("--label", help="Only this contestant.")] = None,
    compat: options.CompatOption = None,
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Score a file's verdicts and file them as results, as if they had been asked here."""
    from harness.evaluation.verdict_files import import_file

    benchmark = factory.build_judged_benchmark(bench, overrides or [], assets, compat)
    print_paths(import_file(benchmark, path, factory.open_workspace(root), label), as_json)


def export_results(
    bench: options.BenchArgument,
    label: Annotated[str, typer.Argument(help="What the result is called.")],
    folder: Annotated[Path, typer.Option("--to", help="The folder for the files.")],
    assets: options.AssetsOption = None,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Write a result's answers and verdicts in the formats of the protocol's own tool."""
    from harness.evaluation.verdict_files import export

    benchmark = factory.build_judged_benchmark(bench, [], assets, None)
    print_paths(export(benchmark, factory.open_workspace(root), label, folder), as_json)


def print_paths(paths: list[Path], as_json: bool) -> None:
    """Print where something was written."""
    if as_json:
        display.print_json([str(path) for path in paths])
        return
    for path in paths:
        typer.echo(str(path))
