"""`harness train NAME`: in this process, or wherever the method's launcher runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.display import notify, print_json
from harness.cli.factory import open_workspace
from harness.cli.options import (
    RUNS,
    DryRunOption,
    JsonOption,
    LauncherOption,
    SetOption,
    WorkspaceOption,
    completer,
    with_launcher,
)

if TYPE_CHECKING:
    from harness.core.workspace import Run, Workspace
    from harness.training.spec import TrainSpec

EXAMPLE = "Example: harness train toy/inpo --set objective.eta=0.1 --name toy/inpo-eta-0.1"


def command(
    name: Annotated[
        str,
        typer.Argument(
            help="A method of configs/train, or a YAML file.", autocompletion=completer("train")
        ),
    ],
    run_name: Annotated[
        str | None, typer.Option("--name", help="The run's name; default: the method's.")
    ] = None,
    overrides: SetOption = None,
    launcher: LauncherOption = None,
    dry_run: DryRunOption = False,
    gpu: Annotated[
        str,
        typer.Option(help="For --dry-run: a GPU of configs/gpu.", autocompletion=completer("gpu")),
    ] = "h100",
    gpus: Annotated[int, typer.Option(min=1, help="For --dry-run: the number of GPUs.")] = 8,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train a policy: sample, compare, pair, anchor and optimise, for the method's iterations.

    The same command continues an interrupted run; cached stages are not run again.
    """
    from harness.cli import display
    from harness.core.config import build, construct, load
    from harness.training import estimate, schedule
    from harness.training.spec import TrainSpec

    spec = construct(TrainSpec, load("train", name, with_launcher(launcher, overrides)))
    workspace = open_workspace(root)
    notify(f"{spec.method} · {display.describe_engine(spec.engine)}")
    if dry_run:
        stages = schedule.plan(spec, workspace)
        cost = estimate.estimate_training(spec, build(load("gpu", gpu), "gpu"), gpus)
        if as_json:
            print_json({"stages": display.plan_data(stages), "estimate": display.cost_data(cost)})
        else:
            display.print_stages(stages)
            display.print_cost(cost)
        return
    record = launch_training(spec, workspace, run_name or display.default_run_name(name))
    if record is None:
        return
    if as_json:
        print_json(vars(record))
    else:
        notify(f"run {record.name!r}: {record.policies[-1]}")
        notify(f"next: harness eval --bench BENCH --run {record.name}")


def launch_training(spec: TrainSpec, workspace: Workspace, name: str) -> Run | None:
    """Train where the launcher decides; return the run's record."""
    from harness.core.workspace import read_run
    from harness.protocols import RunLauncher

    payload = {"spec": spec, "root": workspace.root, "name": name}
    match spec.launcher:
        case RunLauncher() as launcher:
            launcher.launch(train_in_process, payload, notify)
        case _:
            train_in_process(payload)
    return read_run(workspace, name)


def train_in_process(payload: Mapping[str, Any]) -> None:
    """Train in this process, which may be one that the launcher started."""
    from harness.training import schedule

    schedule.train(payload["spec"], open_workspace(Path(payload["root"])), payload["name"])
