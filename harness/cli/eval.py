"""`harness eval`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import benches, examining, grading, outcome, screen
from harness.cli.screen import RUNS

EXAMPLE = "Example: harness eval --bench alpaca-eval --answers answers.json --dry-run"


def command(
    bench: grading.BenchOption,
    answers: grading.AnswersOption = None,
    policy: grading.PolicyOption = None,
    run: Annotated[str | None, typer.Option("--run", help="RUN or RUN@ITERATION.")] = None,
    judge: grading.JudgeOption = None,
    base_url: grading.UrlOption = None,
    assets: screen.AssetsOption = None,
    label: Annotated[str | None, typer.Option("--label", help="Its name in tables.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="Of configs/engine.")] = "auto",
    budget: grading.BudgetOption = None,
    accept_judge: grading.AcceptJudgeOption = None,
    batch: grading.BatchOption = False,
    resume: grading.ResumeOption = False,
    allow_missing: grading.MissingOption = False,
    accept_input: grading.AcceptOption = False,
    compat: grading.CompatOption = None,
    overrides: screen.SetOption = None,
    dry_run: screen.DryRunOption = False,
    root: screen.WorkspaceOption = RUNS,
    as_json: screen.JsonOption = False,
) -> None:
    """Have a judge grade answers: from a file, or made by a policy; or have a policy take tasks.

    Tasks with known answers (academic) need a policy and no judge. Verdicts are kept: what was
    judged once is not asked again. `--set judge.KEY=VALUE` and `--set engine.KEY=VALUE` override
    the judge and the engine, `--set score.KEY=VALUE` how it is scored, other keys the benchmark.
    """
    from harness.evaluation import results
    from harness.evaluation.examination import Examination, Sitting
    from harness.evaluation.run import Evaluation, evaluate, plan

    place, given = screen.workspace(root), overrides or []
    name, answering = grading.contestant(place, policy, run)
    benchmark = benches.of_any_kind(bench, given, assets, compat)
    if isinstance(benchmark, Examination):
        of_judges = (judge, base_url, accept_judge, budget, batch, resume, answers)
        examining.refuse(benchmark.name, of_judges)
        sitting = Sitting(benchmark, answering, grading.engine(engine, given), label or name)
        examining.command(sitting, place, dry_run=dry_run, as_json=as_json)
        return
    terms = {"budget": budget, "accepted": accept_judge, "batch": batch, "resume": resume}
    generating = answering is not None or benchmark.baseline is not None
    evaluation = Evaluation(
        benchmark=benchmark,
        judge=grading.judge(judge or benchmark.usual_judge, given, base_url, place, terms),
        answers=answers,
        policy=answering,
        engine=grading.engine(engine, given) if generating else None,
        label=label or name,
        allow_missing=allow_missing,
        accept_input=accept_input,
    )
    if dry_run:
        found = plan(evaluation, place)
        screen.show(outcome.planned(found)) if as_json else outcome.print_plan(found)
        return
    done = evaluate(evaluation, place)
    path = results.path_of(place, done.benchmark, done.label)
    screen.show(outcome.told(done, path)) if as_json else outcome.print_result(done, path)
