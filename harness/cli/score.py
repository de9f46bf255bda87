"""`harness score BENCH FILE`."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import benches, grading, outcome, screen

if TYPE_CHECKING:
    from harness.evaluation.scoring import Scored

EXAMPLE = "Example: harness score alpaca-eval annotations.json --set score.C=0.3594 --json"


def command(
    bench: grading.BenchArgument,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Annotations, judgments, battles.")],
    label: Annotated[str | None, typer.Option("--label", help="Only this contestant.")] = None,
    compat: grading.CompatOption = None,
    assets: screen.AssetsOption = None,
    overrides: screen.SetOption = None,
    as_json: screen.JsonOption = False,
) -> None:
    """Score verdicts that stand in a file of alpaca_eval, arena-hard-auto or FastChat.

    `--compat upstream` makes the figures as the published code did, quirks included.
    """
    # its matrices are small: more threads cost more than they bring, and change the last bits
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from harness.evaluation import scoring

    benchmark = benches.benchmark(bench, overrides or [], assets, compat)
    found = scoring.chosen(path, scoring.score_file(benchmark, path), label)
    if as_json:
        screen.show([told(benchmark.name, one) for one in found])
        return
    for one in found:
        typer.echo(f"{one.graded.label} on {benchmark.name}, judged by {one.graded.judge}")
        outcome.print_score(one.score)


def told(benchmark: str, one: Scored) -> dict[str, Any]:
    """Return a score as data, without its items."""
    who = {"benchmark": benchmark, "label": one.graded.label, "judge": one.graded.judge}
    return {**who, "missing": one.missing, "score": asdict(replace(one.score, items=()))}
