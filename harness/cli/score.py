"""`harness score BENCH FILE`."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import display, factory, options

if TYPE_CHECKING:
    from harness.evaluation.verdict_files import ScoredSubmission

EXAMPLE = "Example: harness score alpaca-eval annotations.json --set score.C=0.3594 --json"


def command(
    bench: options.BenchArgument,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Annotations, judgments, battles.")],
    label: Annotated[str | None, typer.Option("--label", help="Only this contestant.")] = None,
    compat: options.CompatOption = None,
    assets: options.AssetsOption = None,
    overrides: options.SetOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Score verdicts that stand in a file of alpaca_eval, arena-hard-auto or FastChat.

    `--compat upstream` makes the figures as the published code did, quirks included.
    """
    # its matrices are small: more threads cost more than they bring, and change the last bits
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from harness.evaluation import verdict_files

    benchmark = factory.build_judged_benchmark(bench, overrides or [], assets, compat)
    scored = verdict_files.select_submissions(
        path, verdict_files.score_file(benchmark, path), label
    )
    if as_json:
        display.print_json([score_data(benchmark.name, submission) for submission in scored])
        return
    for submission in scored:
        typer.echo(
            f"{submission.graded.label} on {benchmark.name}, judged by {submission.graded.judge}"
        )
        display.print_score(submission.score)


def score_data(benchmark: str, submission: ScoredSubmission) -> dict[str, Any]:
    """Return a score as data, without its items."""
    labels = {
        "benchmark": benchmark,
        "label": submission.graded.label,
        "judge": submission.graded.judge,
    }
    return {
        **labels,
        "missing": submission.missing,
        "score": asdict(replace(submission.score, items=())),
    }
