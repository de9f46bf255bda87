"""`harness sweep METHOD ...`: a grid of settings and seeds, trained, graded and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import display, options, printing
from harness.cli.options import RUNS, completer
from harness.cli.train import train_in_process

if TYPE_CHECKING:
    from harness.api.sweep import Sweep
    from harness.api.sweep_plans import SweepCounts, SweepPlan

EXAMPLE = (
    "Example: harness sweep toy/inpo --set objective.eta=0.1,0.2 --seeds 0,1 "
    "--bench toy-weighted --judge toy"
)

MethodsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="METHOD...",
        help="Methods of configs/train, or YAML files.",
        autocompletion=completer("train"),
    ),
]
GridOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=V1,V2", help="Override a key of the methods with each of the values."
    ),
]
SeedsOption = Annotated[str, typer.Option("--seeds", help="Seeds: 0,1,2 or 0-9.")]
BenchesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bench",
        help="A benchmark of configs/bench; may be repeated. Default: nothing is graded.",
        autocompletion=completer("bench"),
    ),
]
EvaluationOption = Annotated[
    list[str] | None,
    typer.Option(
        "--eval-set",
        metavar="KEY=VALUE",
        help="Override a key of the evaluation, as `harness eval --set` does.",
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="The sweep's name; default: METHOD-sweep.")
]
BaselineOption = Annotated[
    str, typer.Option("--baseline", help="The setting to compare with; default: the first.")
]
EngineOption = Annotated[str, typer.Option("--engine", help="An engine of configs/engine.")]


def command(
    methods: MethodsArgument,
    settings: GridOption = None,
    seeds: SeedsOption = "0",
    bench: BenchesOption = None,
    judge: options.JudgeOption = None,
    second_judge: options.SecondJudgeOption = None,
    base_url: options.BaseUrlOption = None,
    budget: options.BudgetOption = None,
    price: options.PriceOption = None,
    engine: EngineOption = "auto",
    evaluation: EvaluationOption = None,
    name: NameOption = None,
    baseline: BaselineOption = "",
    launcher: options.LauncherOption = None,
    dry_run: options.DryRunOption = False,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Train every combination of settings and seeds, grade each run, and print one table.

    Values are separated by commas; commas in brackets or quotes belong to a value. Stages that runs
    have in common are computed once; the same command goes on where a killed one was. The table
    has means over seeds, and paired differences from the first setting. A failed run is reported,
    and the others go on.
    """
    from harness.api.sweep import run_sweep
    from harness.api.sweep_plans import Grading, count_stages, plan_sweep

    workspace = display.open_workspace(root)
    grading = Grading(
        bench or (), judge, base_url, budget, engine, evaluation or (), price, second_judge
    )
    grid: dict[str, Any] = {"settings": settings or (), "seeds": seeds, "launcher": launcher}
    plan = plan_sweep(methods, **grid, name=name, grading=grading)
    if dry_run:
        _show_plan(plan, count_stages(plan, workspace), as_json=as_json)
        return
    done = run_sweep(
        plan, workspace, baseline=baseline, body=train_in_process, notify=printing.notify
    )
    _show_sweep(done, as_json=as_json)
    if done.failures:
        raise _failure(done)


def _show_plan(plan: SweepPlan, counts: SweepCounts, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        runs = [asdict(run.record) for run in plan.runs]
        display.print_json({"sweep": plan.name, "runs": runs, "counts": asdict(counts)})
        return
    for run in plan.runs:
        stages, cached = counts.by_run[run.record.name]
        printing.print_line(
            f"{run.record.name}: {run.record.label}, {cached} of {stages} stages are cached"
        )
    printing.print_line(
        f"{counts.runs} runs use {counts.run_stages} stages, of which {counts.stages} differ: "
        f"{counts.shared} are shared, {counts.cached} are cached, {counts.pending} would run."
    )
    printing.print_line(f"{counts.evaluations} evaluations would follow.")


def _show_sweep(done: Sweep, *, as_json: bool) -> None:
    """Print the tables of what was graded."""
    import json

    from leaderboard import formats

    tables = done.leaderboard.tables if done.results else ()
    if as_json:
        failures = [{"run": f.run, "bench": f.bench, "error": str(f.error)} for f in done.failures]
        runs = [run.name for run in done.runs]
        data = json.loads(json.dumps(formats.table_data(tables)))
        display.print_json({"sweep": done.name, "runs": runs, "failures": failures, "tables": data})
        return
    printing.print_text(formats.render_rich(tables) if tables else "")
    printing.notify(f"{len(done.runs)} runs and {len(done.results)} results: harness runs ls")


def _failure(done: Sweep) -> Exception:
    """Return the error with which the command ends: of the kind of the first failure."""
    from harness.errors import HarnessError, first_line

    first = done.failures[0]
    kind = type(first.error) if isinstance(first.error, HarnessError) else HarnessError
    where = f"{first.run} on {first.bench}" if first.bench else first.run
    return kind(
        f"{len(done.failures)} of the sweep {done.name!r} failed, first {where}: "
        f"{first_line(first.error)}; run the same command again for what is missing"
    )
