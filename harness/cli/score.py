"""`harness score BENCH FILE`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import grading, outcome, screen

if TYPE_CHECKING:
    from harness.types import Graded, Score

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
    from harness.errors import InputError
    from harness.evaluation.scoring import score_file

    benchmark = grading.benchmark(bench, overrides or [], assets, compat)
    found = score_file(benchmark, path)
    shown = [pair for pair in found if label in (None, pair[0].label)]
    if not shown:
        names = ", ".join(graded.label for graded, _ in found[:8])
        raise InputError(f"{path} has no contestant called {label!r}; it has {names}")
    if as_json:
        screen.show([told(benchmark.name, *pair) for pair in shown])
        return
    for graded, score in shown:
        typer.echo(f"{graded.label} on {benchmark.name}, judged by {graded.judge}")
        outcome.print_score(score)


def told(benchmark: str, graded: Graded, score: Score) -> dict[str, Any]:
    """Return a score as data, without its items."""
    who = {"benchmark": benchmark, "label": graded.label, "judge": graded.judge}
    return {**who, "score": asdict(replace(score, items=()))}
