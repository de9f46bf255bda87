"""Run tasks with known answers: a policy answers, no judge is asked, and a result is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.config import identity
from harness.core.hours import ANSWERING, TRAINING, Hours, compute_hours
from harness.core.naming import check_name
from harness.core.seeds import digest
from harness.core.stages import Stage
from harness.core.workspace import Result, Workspace, write_result
from harness.errors import ConfigError
from harness.evaluation import identities
from harness.evaluation.run import build_result, run_of
from harness.protocols import GenerationEngine, PolicySource, TaskSuite
from harness.types import Graded


@dataclass(frozen=True)
class TaskRun:
    """A policy on a suite of tasks, and the engine that generates."""

    suite: TaskSuite
    policy: PolicySource | None
    engine: GenerationEngine
    label: str | None = None
    replace: bool = False
    """Overwrite a result of the same identity and other content."""

    @property
    def required_policy(self) -> PolicySource:
        """The policy that answers the tasks.

        Raises:
            ConfigError: no policy is given.
        """
        if self.policy is None:
            raise ConfigError(f"{self.suite.name} needs a policy: name it with --policy or --run")
        return self.policy


def run_tasks(task_run: TaskRun, workspace: Workspace) -> Result:
    """Run the tasks that are not cached for this policy, and write the result.

    Raises:
        ConfigError: no policy is given, or the engine cannot run the tasks.
        AssetError: a task's data cannot be loaded; the tasks before it are cached.
        StoreError: a store cannot be read or written.
        CheckError: a task differs from what the configuration states.
        ResultExistsError: there is a result of the same identity and other content.
    """
    policy, suite = task_run.required_policy, task_run.suite
    check_name(suite.name, "benchmark")
    label = check_name(task_run.label or policy.name, "label")
    workspace.stages.materialize(policy.weights())
    store = replace(workspace, isolate=False).stages  # each task starts a process itself
    with suite.stages(policy, task_run.engine) as stages:
        folders = [Path(store.materialize(stage).path) for stage in stages]
    graded = Graded(label, "", (), (), (), baseline_label="")
    result = _build_result(task_run, graded, folders)
    write_result(workspace, result, graded, suite.files(folders), replace=task_run.replace)
    return result


def plan_tasks(task_run: TaskRun, workspace: Workspace) -> list[tuple[Stage, Path | None]]:
    """Return the stages of a run, each with its directory if cached; run nothing."""
    with task_run.suite.stages(task_run.required_policy, task_run.engine) as stages:
        paths = {
            stage: path
            for task_stage in stages
            for stage, path in workspace.stages.plan(task_stage)
        }
    return list(paths.items())


def _build_result(task_run: TaskRun, graded: Graded, folders: Sequence[Path]) -> Result:
    suite, run = task_run.suite, run_of(task_run.policy)
    score = suite.score(folders)
    items_sha256 = digest([dict(item) for item in score.items])
    engine = {"engine": identity(task_run.engine)}
    result = build_result(
        identities.result_identity(
            benchmark=identities.benchmark_identity(suite, suite.sources(folders)),
            contestant=identities.contestant_identity(run, engine, items_sha256),
            judge="",
            judge_settings={},
            baseline={},
        ),
        graded,
        score,
        generation={"tasks": dict(suite.facts(folders))},
        hours=_total_hours(folders),
        run=run,
    )
    versions = {**result.versions, **suite.versions(folders)}
    return replace(result, versions=versions, answers_sha256=items_sha256)


def _total_hours(folders: Sequence[Path]) -> dict[str, Hours] | None:
    """Return the hours of training, which the tasks share, and of all tasks; None if unknown."""
    by_task = [compute_hours(folder) for folder in folders]
    known = [hours for hours in by_task if hours is not None]
    if len(known) < len(by_task):
        return None
    answering: dict[str, float] = {}
    for hours in known:
        for kind, value in hours[ANSWERING].items():
            answering[kind] = answering.get(kind, 0.0) + value
    return {TRAINING: known[0][TRAINING], ANSWERING: answering}
