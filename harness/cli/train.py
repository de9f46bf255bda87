"""`harness train NAME`.

Where a run is carried out: in this process, or where its launcher has it carried out.
"""

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
        str | None, typer.Option("--name", help="What the run is called; the method's name if not.")
    ] = None,
    overrides: SetOption = None,
    launcher: LauncherOption = None,
    dry_run: DryRunOption = False,
    gpu: Annotated[
        str,
        typer.Option(help="For --dry-run: a GPU of configs/gpu.", autocompletion=completer("gpu")),
    ] = "h100",
    gpus: Annotated[int, typer.Option(min=1, help="For --dry-run: how many of them.")] = 8,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train a policy: sample, compare, pair, anchor, optimise, as often as the method says.

    The same command goes on where it was stopped; stages that stand are never made twice.
    """
    from harness.cli import display
    from harness.core.config import build, construct, load
    from harness.training import estimate, schedule
    from harness.training.spec import TrainSpec

    spec = construct(TrainSpec, load("train", name, with_launcher(launcher, overrides)))
    workspace = open_workspace(root)
    if is_leader(spec):
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
    if record is None or not is_leader(spec):
        return
    if as_json:
        print_json(vars(record))
    else:
        notify(f"run {record.name!r}: {record.policies[-1]}")
        notify(f"next: harness eval --bench BENCH --run {record.name}")


def is_leader(spec: TrainSpec) -> bool:
    """Say whether this process tells the user: of several with the same command, the first."""
    from harness.protocols import RunLauncher

    return not isinstance(spec.launcher, RunLauncher) or spec.launcher.is_leader


def launch_training(spec: TrainSpec, workspace: Workspace, name: str) -> Run | None:
    """Train, wherever the launcher wants it; return the run's record."""
    from harness.protocols import RunLauncher

    payload = {"spec": spec, "root": workspace.root, "name": name}
    match spec.launcher:
        case RunLauncher() as launcher:
            launcher.launch(train_in_process, payload, notify)
        case _:
            train_in_process(payload)
    from harness.core.workspace import read_run

    return read_run(workspace, name)


def train_in_process(payload: Mapping[str, Any]) -> None:
    """Train in this process, or in those that the launcher has begun."""
    from harness.training import schedule

    schedule.train(payload["spec"], open_workspace(Path(payload["root"])), payload["name"])
