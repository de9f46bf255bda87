"""A sweep: a grid of settings and seeds, trained, graded and set side by side: `harness.sweep`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import frames
from harness.api.components import Overrides, Source, open_workspace
from harness.api.judging import RUNS, ConfiguredJudge
from harness.api.judging import judge as configure_judge
from harness.api.logs import LOGGER
from harness.api.sweep_plans import (
    Grading,
    PlannedRun,
    SweepPlan,
    build_benchmarks,
    check_runs,
    plan_sweep,
)
from harness.api.training import TrainingRun, launch, train_in_process
from harness.core.workspace.sweeps import SweepRecord, read_sweep, write_sweep
from harness.errors import BudgetError, ConfigError, JudgeIdentityError, JudgeRefusedError

if TYPE_CHECKING:
    import pandas as pd

    from harness.api.evaluation import EvaluationResult
    from harness.api.tables import Leaderboard
    from harness.core.workspace import Workspace
    from harness.judges.cached import JudgeOptions
    from harness.protocols import PersistentJudge

STOPS = (BudgetError, JudgeRefusedError, JudgeIdentityError)
"""Errors of a judge after which it is not asked about further runs."""


@dataclass(frozen=True)
class SweepFailure:
    """A run, or an evaluation of one, that failed."""

    run: str
    bench: str
    """Empty where the training failed."""
    error: Exception


@dataclass
class Sweep:
    """A sweep's runs, results and failures, and its tables."""

    name: str
    workspace: Workspace
    runs: list[TrainingRun] = field(default_factory=list)
    results: list[EvaluationResult] = field(default_factory=list)
    failures: list[SweepFailure] = field(default_factory=list)
    baseline: str = ""
    """The setting that the others are compared with."""

    @property
    def leaderboard(self) -> Leaderboard:
        """A table a benchmark: means over seeds, and differences from the baseline.

        Raises:
            StoreError: nothing has been graded.
        """
        from harness.api.tables import leaderboard

        several = len({run.setting for run in self._record.runs}) > 1
        return leaderboard(
            workspace=self.workspace,
            sweep=self.name,
            pool_seeds=True,
            differences=several,
            baseline=self.baseline if several else "",
        )

    @property
    def _record(self) -> SweepRecord:
        return read_sweep(self.workspace, self.name) or SweepRecord(self.name, ())

    def to_frame(self) -> pd.DataFrame:
        """Return one row a run and benchmark: settings, seed, and each metric's estimate."""
        settings = {run.label: run for run in self._record.runs}
        rows = []
        for result in self.results:
            run = settings[result.label]
            facts = {"run": run.name, "setting": run.setting, **run.settings, "seed": run.seed}
            figures = {
                name if part == "value" else f"{name}_{part}": getattr(estimate, part)
                for name, estimate in result.items()
                for part in frames.ESTIMATE_COLUMNS
            }
            rows.append({**facts, "bench": result.result.benchmark, **figures})
        return frames.to_frame(rows)

    def _repr_html_(self) -> str:
        return self.leaderboard._repr_html_()


def sweep(
    methods: Source | Sequence[Source],
    settings: Mapping[str, Any] | Sequence[str] = (),
    *,
    seeds: str | Sequence[int] = (0,),
    bench: Source | Sequence[Source] = (),
    judge: Source | None = None,
    second_judge: Source | None = None,
    base_url: str | None = None,
    budget: float | None = None,
    price: str | None = None,
    engine: Source = "auto",
    evaluation: Overrides = (),
    name: str | None = None,
    baseline: str = "",
    launcher: str | None = None,
    workspace: str | Path | Workspace = RUNS,
) -> Sweep:
    """Train every combination of settings and seeds, grade each, and set them side by side.

    A failed run is reported in `failures`, and the others go on. What is cached in the workspace is
    not computed again, so that a stopped sweep goes on; stages that runs have in common are shared.

    Args:
        methods: names of configs/train, YAML files or mappings; one or several.
        settings: by dotted key a value, or a list of them: `{"objective.eta": [0.1, 0.2]}`.
        seeds: numbers, or a text such as `0,1` or `0-9`.
        bench: the benchmarks, one or several; none: nothing is graded.
        judge: grades them; the default is each benchmark's own. `toy` serves itself.
        second_judge: an unrelated judge that is asked about 100 of each run's prompts too.
        base_url: where the judge is served, if not at its provider.
        budget: the most that the whole sweep may spend, in US dollars.
        price: `IN,OUT`: what the judge costs, in US dollars per million tokens.
        engine: generates the policies' answers.
        evaluation: overrides of benchmarks, judge, engine and scoring, as `evaluate` takes them.
        name: the sweep's name; its runs are called `NAME/eta=0.1,seed=0`.
        baseline: the setting that the others are compared with; the default is the first.
        launcher: where the runs are trained: a name of configs/launcher.
        workspace: where everything is kept.

    Raises:
        ConfigError: a name, a key or a value does not fit; nothing has been trained then.
        RunExistsError: a run's name belongs to another configuration; nothing has been trained.
    """
    grading = Grading(
        _several(bench), judge, base_url, budget, engine, evaluation, price, second_judge
    )
    plan = plan_sweep(
        _several(methods),
        settings=settings,
        seeds=seeds,
        launcher=launcher,
        name=name,
        grading=grading,
    )
    return run_sweep(plan, open_workspace(workspace), baseline=baseline)


def _several(sources: Source | Sequence[Source]) -> Sequence[Source]:
    return list(sources) if isinstance(sources, list | tuple) else [sources]


def run_sweep(
    plan: SweepPlan,
    workspace: Workspace,
    *,
    baseline: str = "",
    body: Callable[[Mapping[str, Any]], None] = train_in_process,
    notify: Callable[[str], None] = LOGGER.info,
) -> Sweep:
    """Train and grade the runs of a plan, one after the other; see `sweep`.

    Args:
        plan: of `plan_sweep`.
        workspace: where everything is kept.
        baseline: the setting that the others are compared with; the default is the first.
        body: trains one run: see `harness.api.training.launch`.
        notify: receives lines about the progress.

    Raises:
        ConfigError: a benchmark, the judge or the baseline does not fit.
        RunExistsError: a run's name belongs to another configuration.
    """
    check_runs(plan, workspace)
    settings = list(dict.fromkeys(run.record.setting for run in plan.runs))
    if baseline and baseline not in settings:
        raise ConfigError(f"no setting called {baseline!r}: choose one of {', '.join(settings)}")
    done = Sweep(plan.name, workspace, baseline=baseline or settings[0])
    graders = _graders(plan.grading, workspace)
    recorded = read_sweep(workspace, plan.name) or SweepRecord(plan.name, ())
    write_sweep(workspace, recorded.merge(plan.record))
    for number, run in enumerate(plan.runs, 1):
        notify(f"{run.record.name} ({number} of {len(plan.runs)})")
        if _train(run, done, body, notify):
            _grade(run, done, graders, plan.grading, notify)
    return done


def _train(
    run: PlannedRun,
    done: Sweep,
    body: Callable[[Mapping[str, Any]], None],
    notify: Callable[[str], None],
) -> bool:
    """Train a run; return whether it is complete."""
    from harness.api.components import find_run

    name = run.record.name
    try:
        launch(run.spec, done.workspace, name, body, notify)
        done.runs.append(TrainingRun(find_run(done.workspace, name), done.workspace))
    except Exception as error:  # noqa: BLE001  one run's error of any kind leaves the others alone
        _report(done, SweepFailure(name, "", error), notify)
        return False
    return True


@dataclass
class _Grader:
    """A benchmark with the judge that grades it; the judge is None for tasks with known answers."""

    benchmark: Any
    judge: PersistentJudge | None
    stop: Exception | None = None
    """Why the judge is not asked any more."""


def _graders(grading: Grading, workspace: Workspace) -> list[_Grader]:
    """Return a grader a benchmark; their judges share one budget."""
    from harness.judges.cached import judge_options
    from harness.protocols import TaskSuite

    options = judge_options(budget=grading.budget, price=grading.price)
    judges: dict[Any, PersistentJudge] = {}
    graders = []
    for benchmark in build_benchmarks(grading):
        if isinstance(benchmark, TaskSuite):
            graders.append(_Grader(benchmark, None))
            continue
        source = grading.judge or benchmark.default_judge
        key = source if isinstance(source, str) else id(source)
        if key not in judges:
            judges[key] = _bind(source, grading, workspace, options)
        graders.append(_Grader(benchmark, judges[key]))
    return graders


def _bind(
    source: Source, grading: Grading, workspace: Workspace, options: JudgeOptions
) -> PersistentJudge:
    """Return a judge with the workspace's verdict store, for all of the sweep's evaluations."""
    from harness.api.components import select_overrides
    from harness.judges.batch import cached_judge
    from harness.protocols import PersistentJudge

    match source:
        case ConfiguredJudge():
            return source.bind(workspace)
        case PersistentJudge():
            return source
    overrides = select_overrides(grading.overrides, "judge")
    client = configure_judge(source, base_url=grading.base_url, overrides=overrides).client
    bound: PersistentJudge = cached_judge(client, workspace.verdicts, options)
    return bound


def _grade(
    run: PlannedRun,
    done: Sweep,
    graders: Sequence[_Grader],
    grading: Grading,
    notify: Callable[[str], None],
) -> None:
    """Grade a run on every benchmark; a failure leaves the other benchmarks alone."""
    from harness.api.evaluation import evaluate

    for grader in graders:
        bench = grader.benchmark.name
        try:
            if grader.stop is not None:
                raise grader.stop
            result = evaluate(
                grader.benchmark,
                run=run.record.name,
                judge=grader.judge,
                second_judge=None if grader.judge is None else grading.second_judge,
                engine=grading.engine,
                label=run.record.label,
                workspace=done.workspace,
                overrides=_engine_overrides(grading.overrides),
            )
            done.results.append(result)
            notify(f"  {bench}: {_figure(result)}")
        except Exception as error:  # noqa: BLE001  likewise
            if isinstance(error, STOPS):
                grader.stop = error
            _report(done, SweepFailure(run.record.name, bench, error), notify)


def _engine_overrides(overrides: Overrides) -> dict[str, Any]:
    """Return the overrides of engine and second judge, with their prefix: the rest is built."""
    from harness.core.config import parse_overrides

    return {
        k: v
        for k, v in parse_overrides(overrides).items()
        if k.startswith(("engine.", "second_judge."))
    }


def _figure(result: EvaluationResult) -> str:
    name, estimate = next(iter(result.items()))
    return f"{name.replace('_', ' ')} {estimate.value:.1f}"


def _report(done: Sweep, failure: SweepFailure, notify: Callable[[str], None]) -> None:
    done.failures.append(failure)
    where = f" on {failure.bench}" if failure.bench else ""
    notify(f"  failed{where}: {type(failure.error).__name__}: {failure.error}")
