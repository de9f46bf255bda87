"""`harness import` and `harness export`: results in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.api import components
from harness.cli import display, options
from harness.cli.options import RUNS

IMPORT = "Example: harness import alpaca-eval annotations.json"
EXPORT = "Example: harness export alpaca-eval INPO --to published"


def import_results(
    bench: options.BenchArgument,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Annotations, judgments or battles.")
    ],
    label: Annotated[
        str | None, typer.Option("--label", help="Import only this contestant.")
    ] = None,
    compat: options.CompatOption = None,
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    replace: options.ReplaceOption = False,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Score the verdicts of a file and add the results to the workspace."""
    from harness.evaluation.verdict_files import import_file

    benchmark = components.build_judged_benchmark(bench, overrides or [], assets, compat)
    workspace = display.open_workspace(root)
    paths = import_file(benchmark, path, workspace, label, replace=replace)
    display.print_paths(paths, as_json)


def export_results(
    bench: options.BenchArgument,
    label: Annotated[str, typer.Argument(help="The label of the result, or the name of its file.")],
    folder: Annotated[Path, typer.Option("--to", help="The directory for the files.")],
    assets: options.AssetsOption = None,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Write a result's answers and verdicts in the formats of the protocol's own tool."""
    from harness.evaluation.verdict_files import export

    benchmark = components.build_judged_benchmark(bench, [], assets, None)
    display.print_paths(export(benchmark, display.open_workspace(root), label, folder), as_json)
