"""`harness demo`: the commands that a user would type, one after the other."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.screen import RUNS, JsonOption, SetOption, WorkspaceOption, say

EXAMPLE = "Example: harness demo --workspace runs"
METHODS = ("toy/inpo", "toy/iterative-dpo", "toy/inpo-without-kl")
BENCHMARKS = ("toy-weighted", "toy-labels")


def command(
    overrides: SetOption = None,
    methods: Annotated[
        list[str] | None, typer.Option("--method", help="Train only this one; may be repeated.")
    ] = None,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train three methods on a toy world, have a judge grade them over HTTP, print the table.

    Nothing is downloaded. The same command goes on where it was stopped; overrides are those of
    `harness train`.
    """
    from harness.cli import eval as evaluate
    from harness.cli import leaderboard, train
    from harness.judges.server import serving
    from harness.toy import judging

    chosen = methods or list(METHODS)
    for name in chosen:
        say(f"$ harness train {name}")
        train.command(name, overrides=overrides, root=root, quiet=True)
    with serving(judging.grade, model=judging.MODEL) as url:
        for bench in BENCHMARKS:
            for policy, run in ((None, name) for name in chosen):
                say(f"$ harness eval --bench {bench} --run {run} --judge toy --base-url {url}")
                evaluate.command(bench=bench, policy=policy, run=run, judge="toy", base_url=url)
    leaderboard.command(root=root, as_json=as_json)
    say(f"results: {root}/results    runs: {root}/train    every stage: {root}/stages")
