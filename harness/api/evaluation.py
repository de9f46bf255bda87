"""Answer, judge, score: `harness.evaluate`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.api import frames
from harness.api.components import (
    Overrides,
    Source,
    build_benchmark,
    build_component,
    open_workspace,
    resolve_policy,
)
from harness.api.judging import RUNS, bind_judge
from harness.core.naming import check_name
from harness.errors import ConfigError
from harness.types import Estimate, Score

if TYPE_CHECKING:
    import pandas as pd

    from harness.core.workspace import Result, Workspace
    from harness.evaluation.run import Evaluation
    from harness.evaluation.tasks import TaskRun
    from harness.protocols import PersistentJudge


@dataclass(frozen=True)
class EvaluationResult(Mapping[str, Estimate]):
    """One contestant on one benchmark under one judge: estimates by metric."""

    result: Result
    """Everything that the workspace records of it."""
    path: Path
    """The result's file."""

    @property
    def label(self) -> str:
        """The contestant's name in tables."""
        return self.result.label

    @property
    def score(self) -> Score:
        """The estimates with their counts, items and notes."""
        return self.result.score

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures must know."""
        return self.result.score.notes

    def __getitem__(self, metric: str) -> Estimate:
        return self.result.score.estimates[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.result.score.estimates)

    def __len__(self) -> int:
        return len(self.result.score.estimates)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a prompt."""
        return frames.to_frame(self.result.score.items)

    def estimates_frame(self) -> pd.DataFrame:
        """Return one row a metric: value, low, high, standard_error."""
        return frames.estimates_frame(self.result.score.estimates)

    def _repr_html_(self) -> str:
        judged = f", judged by {self.result.judge}" if self.result.judge else ""
        title = f"{self.label} on {self.result.benchmark}{judged}"
        return frames.estimates_html(title, self.result.score.estimates, self.notes)


def evaluate(
    bench: Source,
    *,
    answers: str | Path | Sequence[Mapping[str, Any]] | None = None,
    policy: Source | None = None,
    run: str | None = None,
    judge: Source | None = None,
    second_judge: Source | None = None,
    oracle: Source | None = None,
    engine: Source = "auto",
    label: str | None = None,
    workspace: str | Path | Workspace = RUNS,
    overrides: Overrides = (),
    compat: str | None = None,
    assets: str | Path | None = None,
    seed: int = 0,
    allow_missing: bool = False,
    accept_input: bool = False,
    replace: bool = False,
    retry_missing: bool = False,
) -> EvaluationResult:
    """Have a judge grade answers, from a file or of a policy, and record the result.

    Verdicts are cached, and results kept side by side. Academic tasks take a policy and no judge.

    Args:
        bench: a benchmark: a name of configs/bench, a YAML file, a mapping, or one that is built.
        answers: a file in one of the protocol's formats, or its rows.
        policy: who answers instead: a name of configs/policy, a folder, a hub id, a component.
        run: or the policy of a run, as `RUN` or `RUN@ITERATION`.
        judge: `harness.judge(...)`, or what that takes; the default is the protocol's own judge.
        second_judge: an unrelated judge that is asked about 100 of the prompts too.
        oracle: compares those answers with the baseline's: of configs/oracle, or `run` for its own.
        engine: generates a policy's answers.
        label: the contestant's name in tables; the default is the file's, the policy's, a run's.
        workspace: where verdicts, answers and the result are kept.
        overrides: of the benchmark; of others with `judge.`, `second_judge.`, `engine.`, `score.`.
        compat: `upstream` computes figures as the published code does.
        assets: the folder with the protocol data.
        seed: of the policy's samples.
        allow_missing: leave out prompts without an answer.
        accept_input: go on where the audit would stop.
        replace: overwrite a result of the same identity whose figures or answers are others.
        retry_missing: ask again what ended without an answer or a verdict in an earlier run.

    Raises:
        ConfigError: a name or a key does not fit, or nothing says who answers.
        ResultExistsError: there is such a result.
        InputError: the answers do not fit.
        JudgeError: the judge cannot be reached or refuses; cached verdicts are kept.
        CheckError: the audit stops it, or no verdict can be parsed.
    """
    opened = open_workspace(workspace)
    benchmark = build_benchmark(bench, overrides, assets, compat)
    options: dict[str, Any] = {"policy": policy, "run": run, "judge": judge, "engine": engine}
    options |= {"label": label, "overrides": overrides, "seed": seed, "replace": replace}
    options |= {"second_judge": second_judge, "oracle": oracle, "retry_missing": retry_missing}
    options |= {"allow_missing": allow_missing, "accept_input": accept_input}
    with _answers_file(answers) as file:
        return _carry_out(prepare(benchmark, opened, answers=file, **options), opened)


def prepare(
    benchmark: Any,
    workspace: Workspace,
    *,
    answers: Path | None = None,
    policy: Source | None = None,
    run: str | None = None,
    judge: Source | None = None,
    second_judge: Source | None = None,
    oracle: Source | None = None,
    engine: Source = "auto",
    label: str | None = None,
    overrides: Overrides = (),
    seed: int = 0,
    allow_missing: bool = False,
    accept_input: bool = False,
    replace: bool = False,
    retry_missing: bool = False,
) -> Evaluation | TaskRun:
    """Return what an evaluation, or a suite of tasks, needs to run; see `evaluate`.

    Raises:
        ConfigError: a name or a key does not fit, or a suite of tasks is given answers or a judge.
    """
    from harness.api.opinions import second_opinions
    from harness.evaluation.run import Evaluation
    from harness.evaluation.tasks import TaskRun
    from harness.protocols import TaskSuite

    if label is not None:
        check_name(label, "label")
    name, candidate = resolve_policy(workspace, policy, run)
    if isinstance(benchmark, TaskSuite):
        if judge is not None or answers is not None:
            raise ConfigError(f"{benchmark.name} has known answers: leave out judge and answers")
        if second_judge is not None or oracle is not None:
            raise ConfigError(f"{benchmark.name} has no judge: leave out --second-judge, --oracle")
        built = build_component("engine", engine, overrides)
        return TaskRun(benchmark, candidate, built, label or name, replace)
    needs_engine = candidate is not None or benchmark.baseline is not None
    bound = _judge(benchmark, judge, workspace, overrides, retry_missing)
    return Evaluation(
        benchmark=benchmark,
        judge=bound,
        opinions=second_opinions(second_judge, oracle, bound, candidate, workspace, overrides),
        answers=answers,
        policy=candidate,
        engine=_engine(engine, overrides, retry_missing) if needs_engine else None,
        label=label or name,
        seed=seed,
        allow_missing=allow_missing,
        accept_input=accept_input,
        replace=replace,
    )


def _judge(
    benchmark: Any,
    judge: Source | None,
    workspace: Workspace,
    overrides: Overrides,
    retry_missing: bool,
) -> PersistentJudge:
    """Return the judge; for a benchmark whose answers a program checks, that program."""
    from harness.judges.program import ProgramJudge
    from harness.protocols import CheckedBenchmark

    if not isinstance(benchmark, CheckedBenchmark):
        source = judge or benchmark.default_judge
        return bind_judge(source, workspace, overrides, retry_missing=retry_missing)
    if judge is not None:
        raise ConfigError(f"{benchmark.name} is checked by a program: leave out the judge")
    return ProgramJudge(benchmark)


def _engine(engine: Source, overrides: Overrides, retry_missing: bool) -> Any:
    """Return the engine, which asks for missing answers again where that is wanted and it can."""
    built = build_component("engine", engine, overrides)
    can_retry = retry_missing and "retry_missing" in type(built).model_fields
    return built.model_copy(update={"retry_missing": True}) if can_retry else built


def _carry_out(prepared: Evaluation | TaskRun, workspace: Workspace) -> EvaluationResult:
    from harness.core.workspace import result_path
    from harness.core.workspace.locks import in_use
    from harness.evaluation import run, tasks

    with in_use(workspace):
        if isinstance(prepared, tasks.TaskRun):
            result = tasks.run_tasks(prepared, workspace)
        else:
            result = run.evaluate(prepared, workspace)
    path = result_path(workspace, result.benchmark, result.label, result.identity)
    return EvaluationResult(result, path)


@contextmanager
def _answers_file(
    answers: str | Path | Sequence[Mapping[str, Any]] | None,
) -> Iterator[Path | None]:
    """Yield the path of the answers; rows are written to a temporary file."""
    if answers is None or isinstance(answers, str | Path):
        yield None if answers is None else Path(answers)
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "answers.json"
        path.write_text(json.dumps([dict(row) for row in answers]), encoding="utf-8")
        yield path
