"""`harness eval`: answers graded by a judge, or tasks with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.api import components
from harness.cli import display, options, printing
from harness.cli.options import RUNS

if TYPE_CHECKING:
    from harness.api.judging import ConfiguredJudge
    from harness.core.workspace import Workspace
    from harness.evaluation.run import Evaluation
    from harness.evaluation.tasks import TaskRun

EXAMPLE = "Example: harness eval --bench alpaca-eval --answers answers.json --dry-run"
JUDGE_OPTIONS = (
    "judge",
    "base-url",
    "accept-judge",
    "budget",
    "batch",
    "resume",
    "price",
    "answers",
)
"""Options that a suite of tasks with known answers refuses."""


def command(
    bench: options.BenchOption,
    answers: options.AnswersOption = None,
    policy: options.PolicyOption = None,
    run: Annotated[
        str | None, typer.Option("--run", help="A policy of a run: RUN or RUN@ITERATION.")
    ] = None,
    judge: options.JudgeOption = None,
    second_judge: options.SecondJudgeOption = None,
    oracle: options.OracleOption = None,
    base_url: options.BaseUrlOption = None,
    assets: options.AssetsOption = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The contestant's name in tables.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="An engine of configs/engine.")] = "auto",
    budget: options.BudgetOption = None,
    price: options.PriceOption = None,
    accept_judge: options.AcceptJudgeOption = None,
    batch: options.BatchOption = False,
    resume: options.ResumeOption = False,
    retry_missing: options.RetryMissingOption = False,
    allow_missing: options.AllowMissingOption = False,
    accept_input: options.AcceptInputOption = False,
    compat: options.CompatOption = None,
    overrides: options.SetOption = None,
    replace: options.ReplaceOption = False,
    dry_run: options.DryRunOption = False,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Have a judge grade the answers of a file or a policy, or have a policy do tasks.

    Tasks with known answers (academic) need a policy and no judge. Verdicts are stored: the judge
    is never asked twice for the same one. `--set judge.KEY=VALUE` and `--set engine.KEY=VALUE`
    override the judge and the engine, `--set score.KEY=VALUE` the scoring, and `--set KEY=VALUE`
    the benchmark.
    """
    from harness.api.evaluation import prepare
    from harness.evaluation.tasks import TaskRun

    workspace, override_list = display.open_workspace(root), overrides or []
    benchmark = components.build_benchmark(bench, override_list, assets, compat)
    judging = (judge, base_url, accept_judge, budget, batch, resume, price, answers)
    configured = configure_judge(benchmark, judging, override_list)
    contestant: dict[str, Any] = {"answers": answers, "policy": policy, "run": run}
    contestant["judge"] = configured
    conditions: dict[str, Any] = {"engine": engine, "label": label, "overrides": override_list}
    conditions |= {"allow_missing": allow_missing, "accept_input": accept_input}
    conditions["retry_missing"] = retry_missing
    conditions |= {"replace": replace, "second_judge": second_judge, "oracle": oracle}
    display.warn_of_retirement(configured)
    prepared = prepare(benchmark, workspace, **contestant, **conditions)
    if prepared.engine is not None:
        printing.notify(display.describe_engine(prepared.engine))
    if isinstance(prepared, TaskRun):
        run_task_suite(prepared, workspace, dry_run=dry_run, as_json=as_json)
    else:
        run_evaluation(prepared, workspace, dry_run=dry_run, as_json=as_json)


def configure_judge(
    benchmark: Any, values: Sequence[Any], overrides: Sequence[str]
) -> ConfiguredJudge | None:
    """Return the judge that the values of JUDGE_OPTIONS describe; None for a suite of tasks.

    Raises:
        ConfigError: a suite of tasks is given one of these options, or there is no such judge.
    """
    from harness.api.judging import judge
    from harness.protocols import CheckedBenchmark, TaskSuite

    if isinstance(benchmark, TaskSuite):
        refuse_judge_options(benchmark.name, values)
        return None
    if isinstance(benchmark, CheckedBenchmark):
        refuse_judge_options(benchmark.name, (*values[:-1], None))
        return None
    name, base_url, accepted, budget, batch, resume, price, _ = values
    return judge(
        name or benchmark.default_judge,
        base_url=base_url,
        accept_models=accepted or (),
        budget=budget,
        price=price,
        batch=batch,
        resume=resume,
        overrides=components.select_overrides(overrides, "judge"),
    )


def run_evaluation(
    evaluation: Evaluation, workspace: Workspace, *, dry_run: bool, as_json: bool
) -> None:
    """Print the plan of an evaluation, or evaluate and print the result."""
    from harness.core.workspace import result_path
    from harness.core.workspace.locks import in_use
    from harness.evaluation.run import evaluate, plan

    if dry_run:
        evaluation_plan = plan(evaluation, workspace)
        if as_json:
            display.print_json(display.evaluation_plan_data(evaluation_plan))
        else:
            display.print_evaluation_plan(evaluation_plan)
        return
    with in_use(workspace):
        result = evaluate(evaluation, workspace)
    path = result_path(workspace, result.benchmark, result.label, result.identity)
    if as_json:
        display.print_json(display.result_data(result, path))
    else:
        display.print_result(result, path)


def run_task_suite(
    task_run: TaskRun, workspace: Workspace, *, dry_run: bool, as_json: bool
) -> None:
    """Print the plan of a suite of tasks, or run it and print the result."""
    from harness.core.workspace import result_path
    from harness.core.workspace.locks import in_use
    from harness.evaluation.tasks import plan_tasks, run_tasks

    if dry_run:
        stages = plan_tasks(task_run, workspace)
        if as_json:
            display.print_json({"stages": display.plan_data(stages)})
        else:
            display.print_stages(stages)
        return
    with in_use(workspace):
        result = run_tasks(task_run, workspace)
    path = result_path(workspace, result.benchmark, result.label, result.identity)
    if as_json:
        display.print_json(display.result_data(result, path))
    else:
        display.print_task_result(result, path)


def refuse_judge_options(name: str, values: Sequence[object]) -> None:
    """Refuse the options that need a judge or a file of answers; `values` in their order.

    Raises:
        ConfigError: one of them is given.
    """
    from harness.errors import ConfigError

    given_options = [f"--{o}" for o, value in zip(JUDGE_OPTIONS, values, strict=True) if value]
    if given_options:
        raise ConfigError(
            f"{name} has no judge, since its answers are known or checked by a program: omit "
            f"{', '.join(given_options)}"
        )
