"""`harness eval`.

How `harness eval` has a policy take tasks that nobody judges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import display, factory, options
from harness.cli.options import RUNS

if TYPE_CHECKING:
    from pathlib import Path

    from harness.core.workspace import Result, Workspace
    from harness.evaluation.tasks import TaskRun


EXAMPLE = "Example: harness eval --bench alpaca-eval --answers answers.json --dry-run"


def command(
    bench: options.BenchOption,
    answers: options.AnswersOption = None,
    policy: options.PolicyOption = None,
    run: Annotated[str | None, typer.Option("--run", help="RUN or RUN@ITERATION.")] = None,
    judge: options.JudgeOption = None,
    base_url: options.BaseUrlOption = None,
    assets: options.AssetsOption = None,
    label: Annotated[str | None, typer.Option("--label", help="Its name in tables.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="Of configs/engine.")] = "auto",
    budget: options.BudgetOption = None,
    accept_judge: options.AcceptJudgeOption = None,
    batch: options.BatchOption = False,
    resume: options.ResumeOption = False,
    allow_missing: options.AllowMissingOption = False,
    accept_input: options.AcceptInputOption = False,
    compat: options.CompatOption = None,
    overrides: options.SetOption = None,
    dry_run: options.DryRunOption = False,
    root: options.WorkspaceOption = RUNS,
    as_json: options.JsonOption = False,
) -> None:
    """Have a judge grade answers: from a file, or made by a policy; or have a policy take tasks.

    Tasks with known answers (academic) need a policy and no judge. Verdicts are kept: what was
    judged once is not asked again. `--set judge.KEY=VALUE` and `--set engine.KEY=VALUE` override
    the judge and the engine, `--set score.KEY=VALUE` how it is scored, other keys the benchmark.
    """
    from harness.core.workspace import result_path
    from harness.evaluation.run import Evaluation, evaluate, plan
    from harness.evaluation.tasks import TaskRun
    from harness.protocols import TaskSuite

    workspace, override_list = factory.open_workspace(root), overrides or []
    name, candidate = factory.resolve_policy(workspace, policy, run)
    benchmark = factory.build_benchmark(bench, override_list, assets, compat)
    if isinstance(benchmark, TaskSuite):
        judge_values = (judge, base_url, accept_judge, budget, batch, resume, answers)
        refuse_judge_options(benchmark.name, judge_values)
        task_run = TaskRun(
            benchmark, candidate, factory.build_engine(engine, override_list), label or name
        )
        run_task_suite(task_run, workspace, dry_run=dry_run, as_json=as_json)
        return
    options = {"budget": budget, "accepted": accept_judge, "batch": batch, "resume": resume}
    needs_engine = candidate is not None or benchmark.baseline is not None
    evaluation = Evaluation(
        benchmark=benchmark,
        judge=factory.build_judge(
            judge or benchmark.default_judge, override_list, base_url, workspace, options
        ),
        answers=answers,
        policy=candidate,
        engine=factory.build_engine(engine, override_list) if needs_engine else None,
        label=label or name,
        allow_missing=allow_missing,
        accept_input=accept_input,
    )
    if dry_run:
        evaluation_plan = plan(evaluation, workspace)
        display.print_json(
            display.evaluation_plan_data(evaluation_plan)
        ) if as_json else display.print_evaluation_plan(evaluation_plan)
        return
    result = evaluate(evaluation, workspace)
    path = result_path(workspace, result.benchmark, result.label)
    display.print_json(display.result_data(result, path)) if as_json else display.print_result(
        result, path
    )


JUDGE_OPTIONS = ("judge", "base-url", "accept-judge", "budget", "batch", "resume", "answers")
"""Options that say who judges, and what."""


def refuse_judge_options(name: str, values: Sequence[object]) -> None:
    """Refuse options that are about a judge or about answers from a file; in their order.

    Raises:
        ConfigError: one of them is given.
    """
    from harness.errors import ConfigError

    options = [f"--{option}" for option, value in zip(JUDGE_OPTIONS, values, strict=True) if value]
    if options:
        raise ConfigError(
            f"{name} has known answers: nobody judges and the policy itself is asked, so leave out "
            f"{', '.join(options)}"
        )


def run_task_suite(
    task_run: TaskRun, workspace: Workspace, *, dry_run: bool, as_json: bool
) -> None:
    """Say what would be done, or do it and show the result."""
    from harness.core.workspace import result_path
    from harness.evaluation import tasks

    if dry_run:
        stages = tasks.plan_tasks(task_run, workspace)
        display.print_json(
            {"stages": display.plan_data(stages)}
        ) if as_json else display.print_stages(stages)
        return
    result = tasks.run_tasks(task_run, workspace)
    path = result_path(workspace, result.benchmark, result.label)
    display.print_json(display.result_data(result, path)) if as_json else print_task_result(
        result, path
    )


def print_task_result(result: Result, path: Path) -> None:
    """Print a result: figures, counts, and how the tasks were taken."""
    typer.echo(f"{result.label} on {result.benchmark}, by lm-eval; nobody judges")
    display.print_score(result.score)
    typer.echo(f"  {path}")
