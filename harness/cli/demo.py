"""`harness demo`: runs the commands that a user would type."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from harness.cli.options import RUNS, JsonOption, WorkspaceOption
from harness.cli.printing import notify

EXAMPLE = "Example: harness demo --quick --workspace runs"
METHODS = ("toy/inpo", "toy/iterative-dpo", "toy/inpo-without-kl")
BENCHMARKS = ("toy-weighted", "toy-labels")
QUICK = ("prompts.count=64", "policy.texts.count=4800"), ("count=100", "baseline.texts.count=4800")
"""Overrides for training and for the benchmarks: the demo takes half a minute."""
THREADS = 1
"""Of torch: sums of floats depend on how many threads share them, and so would the table."""


def command(
    quick: Annotated[
        bool, typer.Option("--quick", help="Take half a minute; the figures mean little.")
    ] = False,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train three methods on a toy world, have a judge grade them over HTTP, print the table.

    Nothing is downloaded. The same command continues an interrupted demo.
    """
    from harness.cli import eval as evaluate
    from harness.cli import leaderboard, train
    from harness.core.hardware import limit_threads
    from harness.judges.toy_server import serving
    from harness.toy import judge

    limit_threads(THREADS)
    train_overrides, eval_overrides = (
        list(overrides) for overrides in (QUICK if quick else ((), ()))
    )
    for name in METHODS:
        notify(f"$ harness train {name}")
        train.command(name, overrides=train_overrides, root=root)
    with serving(judge.grade, model=judge.MODEL) as url, redirect_stdout(sys.stderr):
        notify(f"a judge listens on {url}")
        for bench in BENCHMARKS:
            for run in (f"{METHODS[0]}@0", *METHODS):
                notify(f"$ harness eval --bench {bench} --run {run} --judge toy")
                evaluate.command(
                    bench=bench,
                    run=run,
                    judge="toy",
                    base_url=url,
                    overrides=eval_overrides,
                    root=root,
                )
    # quick runs are too small to rank: their rows are in the order of the names
    leaderboard.command(root=root, as_json=as_json, sort="method" if quick else "")
    if quick:
        notify("Too small to say which method is better: rows are in alphabetical order.")
    notify(f"Results are in {root}/results, stages in {root}/stages.")
    notify("Next, with a real model and a GPU: harness train inpo --dry-run")
