"""`harness train NAME`: in this process, or wherever the method's launcher runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.display import open_workspace, print_json
from harness.cli.options import (
    RUNS,
    DryRunOption,
    JsonOption,
    LauncherOption,
    SetOption,
    WorkspaceOption,
    completer,
)
from harness.cli.printing import notify

if TYPE_CHECKING:
    from harness.core.workspace import Workspace
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
    rehearse: Annotated[
        bool | None,
        typer.Option(
            "--rehearse/--no-rehearse",
            help="Try everything on a few tokens first; with --dry-run only if it is named.",
        ),
    ] = None,
    root: WorkspaceOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train a policy: sample, compare, pair, anchor and optimise, for the method's iterations.

    The same command continues an interrupted run; cached stages are not run again.
    """
    from harness.api.components import find_run
    from harness.api.training import build_spec, default_run_name, launch
    from harness.cli import display
    from harness.core.naming import check_name

    if run_name is not None:
        check_name(run_name, "run")
    spec = build_spec(name, overrides or (), launcher)
    workspace, default = open_workspace(root), default_run_name(name)
    run_name = run_name or default
    notify(f"{spec.method} · {display.describe_engine(spec.engine)}")
    if dry_run:
        print_plan(spec, workspace, run_name, gpu, gpus, as_json=as_json)
        if rehearse:
            launch(spec, workspace, run_name, rehearse_in_process, notify)
        return
    launch(spec, workspace, run_name, train_in_process, notify, default, rehearse is not False)
    record = find_run(workspace, run_name)
    if as_json:
        print_json(vars(record))
    else:
        notify(f"run {record.name!r}: {record.policies[-1]}")
        notify(f"next: harness eval --bench BENCH --run {record.name}")


def print_plan(
    spec: TrainSpec, workspace: Workspace, run_name: str, gpu: str, gpus: int, *, as_json: bool
) -> None:
    """Print the stages of a training and its cost on some GPUs.

    Raises:
        RunExistsError: the name belongs to a run of another configuration.
        PolicyError: the training does not fit the GPUs.
    """
    from harness.cli import display
    from harness.core.config import build, load
    from harness.training import estimate, schedule

    stages = schedule.plan(spec, workspace)
    device = build(load("gpu", gpu), "gpu")
    cost = estimate.estimate_training(spec, device, gpus)
    if as_json:
        print_json({"stages": display.plan_data(stages), "estimate": display.cost_data(cost)})
    else:
        display.print_stages(stages)
        display.print_cost(cost)
    schedule.check_name_is_free(spec, workspace, run_name)
    estimate.check_fit(spec, device, gpus)


def train_in_process(payload: Mapping[str, Any]) -> None:
    """Train in this process, which may be one that the launcher started."""
    from harness.core.workspace.locks import in_use
    from harness.training import schedule

    workspace = open_workspace(Path(payload["root"]))
    with in_use(workspace):
        names = payload["name"], payload["default_name"]
        schedule.train(payload["spec"], workspace, *names, payload["rehearse"])


def rehearse_in_process(payload: Mapping[str, Any]) -> None:
    """Rehearse a training in this process, which may be one that the launcher started."""
    from harness.core.workspace.locks import in_use
    from harness.training import schedule

    workspace = open_workspace(Path(payload["root"]))
    with in_use(workspace):
        rehearsal = schedule.rehearse_all(payload["spec"], workspace)
    notify(f"the rehearsal {'was cached' if rehearsal.cached else 'is complete'}: nothing failed")
