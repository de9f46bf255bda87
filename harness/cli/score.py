"""`harness score BENCH FILE`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from harness.api import components
from harness.cli import display, options

EXAMPLE = "Example: harness score alpaca-eval annotations.json --set score.C=0.3594 --json"


def command(
    bench: options.BenchArgument,
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Annotations, judgments or battles.")
    ],
    label: Annotated[
        str | None, typer.Option("--label", help="Score only this contestant.")
    ] = None,
    compat: options.CompatOption = None,
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Score the verdicts in a file of alpaca_eval, arena-hard-auto or FastChat.

    `--compat upstream` computes the figures as the published code did, quirks included.
    """
    # the matrices are small: more threads are slower, and they change the last bits
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from harness.evaluation.verdict_files import score_file, select_submissions

    benchmark = components.build_judged_benchmark(bench, overrides or [], assets, compat)
    submissions = select_submissions(path, score_file(benchmark, path), label)
    if as_json:
        display.print_json([display.submission_data(benchmark.name, s) for s in submissions])
        return
    for submission in submissions:
        display.print_submission(benchmark.name, submission)
