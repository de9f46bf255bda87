"""Tasks with known answers: a policy takes them, nobody judges, and a result is filed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.hours import ANSWERING, TRAINING, Hours, compute_hours
from harness.core.seeds import digest
from harness.core.stages import Stage
from harness.core.versions import installed_versions
from harness.core.workspace import Result, Workspace, write_result
from harness.errors import ConfigError
from harness.protocols import GenerationEngine, PolicySource, TaskSuite, TrainedPolicySource
from harness.types import Graded, Score


@dataclass(frozen=True)
class TaskRun:
    """Who takes which tasks, and what generates."""

    suite: TaskSuite
    policy: PolicySource | None
    engine: GenerationEngine
    label: str | None = None

    @property
    def required_policy(self) -> PolicySource:
        """The policy.

        Raises:
            ConfigError: there is none.
        """
        if self.policy is None:
            raise ConfigError(
                f"{self.suite.name} needs a policy to ask: name one with --policy or --run"
            )
        return self.policy


def run_tasks(task_run: TaskRun, workspace: Workspace) -> Result:
    """Have a policy take the tasks that it has not taken yet, and file the result.

    Raises:
        ConfigError: nothing says who is asked, or the engine does not fit.
        AssetError: a task's data cannot be had; the tasks before it are kept.
        StoreError: a store cannot be used.
        CheckError: a task is not what the configuration states.
    """
    policy, suite = task_run.required_policy, task_run.suite
    workspace.stages.materialize(policy.weights())
    store = replace(workspace, isolate=False).stages  # the tasks have a process of their own
    with suite.stages(policy, task_run.engine) as stages:
        folders = [Path(store.materialize(stage).path) for stage in stages]
    label, score = task_run.label or policy.name, suite.score(folders)
    result = _build_result(task_run, folders, label, score)
    graded = Graded(label, "", (), (), (), baseline_label="")
    write_result(workspace, result, graded, suite.files(folders))
    return result


def plan_tasks(task_run: TaskRun, workspace: Workspace) -> list[tuple[Stage, Path | None]]:
    """Return the stages that it takes, each with its directory if it stands; make nothing."""
    with task_run.suite.stages(task_run.required_policy, task_run.engine) as stages:
        paths = {
            stage: path
            for task_stage in stages
            for stage, path in workspace.stages.plan(task_stage)
        }
    return list(paths.items())


def _build_result(task_run: TaskRun, folders: Sequence[Path], label: str, score: Score) -> Result:
    suite, policy = task_run.suite, task_run.required_policy
    sources = dict(suite.sources(folders))
    return Result(
        benchmark=suite.name,
        label=label,
        baseline="",
        judge="",
        judges_served=(),
        score=score,
        answers=0,
        missing=0,
        mean_length=None,
        finish_reasons={},
        truncated=None,
        requests=0,
        new_requests=0,
        versions={**installed_versions(), **suite.versions(folders)},
        answers_sha256=digest([dict(item) for item in score.items]),
        judge_settings={},
        sources=sources,
        generation={"tasks": dict(suite.facts(folders))},
        hours=_total_hours(folders),
        run=policy.run() if isinstance(policy, TrainedPolicySource) else None,
    )


def _total_hours(folders: Sequence[Path]) -> dict[str, Hours] | None:
    """Return the hours of training, which the tasks share, and of all tasks; None: not known."""
    by_task = [compute_hours(folder) for folder in folders]
    known = [hours for hours in by_task if hours is not None]
    if len(known) < len(by_task):
        return None
    answering: dict[str, float] = {}
    for hours in known:
        for kind, value in hours[ANSWERING].items():
            answering[kind] = answering.get(kind, 0.0) + value
    return {TRAINING: known[0][TRAINING], ANSWERING: answering}
