"""`harness train NAME`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.screen import (
    RUNS,
    DryRunOption,
    JsonOption,
    LauncherOption,
    SetOption,
    WorkspaceOption,
    complete,
    launched,
    say,
    show,
    workspace,
)

EXAMPLE = "Example: harness train toy/inpo --set objective.eta=0.1 --name toy/inpo-eta-0.1"


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="A method of configs/train, or a YAML file.", autocompletion=complete("train")
        ),
    ],
    run_name: Annotated[
        str | None, typer.Option("--name", help="What the run is called; the method's name if not.")
    ] = None,
    overrides: SetOption = None,
    launcher: LauncherOption = None,
    dry_run: DryRunOption = False,
    gpu: Annotated[
        str,
        typer.Option(help="For --dry-run: a GPU of configs/gpu.", autocompletion=complete("gpu")),
    ] = "h100",
    gpus: Annotated[int, typer.Option(min=1, help="For --dry-run: how many of them.")] = 8,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train a policy: sample, compare, pair, anchor, optimise, as often as the method says.

    The same command goes on where it was stopped; stages that stand are never made twice.
    """
    from harness.cli import launching, present
    from harness.config import build, load, make
    from harness.training import estimate, run
    from harness.training.spec import TrainSpec

    spec = make(TrainSpec, load("train", name, launched(launcher, overrides)))
    place = workspace(root)
    if launching.leads(spec):
        say(f"{spec.method} · {present.engine(spec.engine)}")
    if dry_run:
        stages = run.plan(spec, place)
        cost = estimate.estimate(spec, build(load("gpu", gpu), "gpu"), gpus)
        if as_json:
            show({"stages": present.plan(stages), "estimate": present.cost(cost)})
        else:
            present.print_plan(stages)
            present.print_cost(cost)
        return
    done = launching.trained(spec, place, run_name or present.stem(name))
    if done is None or not launching.leads(spec):
        return
    if as_json:
        show(vars(done))
    else:
        say(f"run {done.name!r}: {done.policies[-1]}")
        say(f"next: harness eval --bench BENCH --run {done.name}")
