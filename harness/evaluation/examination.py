"""Tasks with known answers: a policy takes them, nobody judges, and a result is filed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.errors import ConfigError
from harness.evaluation import results
from harness.evaluation.hours import ANSWERING, TRAINING, Hours, spent
from harness.evaluation.results import Result
from harness.evaluation.run import MadeByRun
from harness.protocols import GenerationEngine, PolicySource
from harness.runs import Stage, Workspace, versions
from harness.seeds import digest
from harness.types import Graded, Score


@runtime_checkable
class Examination(Protocol):
    """Tasks whose answers are known, in place of a benchmark that asks a judge."""

    @property
    def name(self) -> str:
        """What results are filed under."""
        ...

    def stages(
        self, policy: PolicySource, engine: GenerationEngine
    ) -> AbstractContextManager[list[Stage]]:
        """Lend a stage a task; none is made before it is asked for."""
        ...

    def score(self, folders: Sequence[Path]) -> Score:
        """Score the stages' folders, in their order."""
        ...

    def sources(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return what identifies each task; results that differ in one share no column."""
        ...

    def told(self, folders: Sequence[Path]) -> Mapping[str, Any]:
        """Return how each task was taken."""
        ...

    def versions(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return the versions of the packages that the tasks were taken with."""
        ...

    def files(self, folders: Sequence[Path]) -> Mapping[str, str]:
        """Return the records of single items by file name."""
        ...


@dataclass(frozen=True)
class Sitting:
    """Who takes which tasks, and what generates."""

    examination: Examination
    policy: PolicySource | None
    engine: GenerationEngine
    label: str | None = None

    @property
    def examinee(self) -> PolicySource:
        """The policy.

        Raises:
            ConfigError: there is none.
        """
        if self.policy is None:
            raise ConfigError(
                f"{self.examination.name} needs a policy to ask: name one with --policy or --run"
            )
        return self.policy


def examine(sitting: Sitting, workspace: Workspace) -> Result:
    """Have a policy take the tasks that it has not taken yet, and file the result.

    Raises:
        ConfigError: nothing says who is asked, or the engine does not fit.
        AssetError: a task's data cannot be had; the tasks before it are kept.
        StoreError: a store cannot be used.
        CheckError: a task is not what the configuration states.
    """
    policy, exam = sitting.examinee, sitting.examination
    workspace.stages.realise(policy.weights())
    store = replace(workspace, isolate=False).stages  # the tasks have a process of their own
    with exam.stages(policy, sitting.engine) as stages:
        folders = [Path(store.realise(stage).path) for stage in stages]
    label, score = sitting.label or policy.name, exam.score(folders)
    result = _result(sitting, folders, label, score)
    graded = Graded(label, "", (), (), (), baseline_label="")
    results.write(workspace, result, graded, exam.files(folders))
    return result


def plan(sitting: Sitting, workspace: Workspace) -> list[tuple[Stage, Path | None]]:
    """Return the stages that it takes, each with its directory if it stands; make nothing."""
    with sitting.examination.stages(sitting.examinee, sitting.engine) as stages:
        found = {stage: path for one in stages for stage, path in workspace.stages.plan(one)}
    return list(found.items())


def _result(sitting: Sitting, folders: Sequence[Path], label: str, score: Score) -> Result:
    exam, policy = sitting.examination, sitting.examinee
    sources = dict(exam.sources(folders))
    return Result(
        benchmark=exam.name,
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
        asked=0,
        versions={**versions(), **exam.versions(folders)},
        answers_sha256=digest([dict(item) for item in score.items]),
        judged_with={},
        sources=sources,
        answered={"tasks": dict(exam.told(folders))},
        hours=_hours(folders),
        run=policy.run() if isinstance(policy, MadeByRun) else None,
    )


def _hours(folders: Sequence[Path]) -> dict[str, Hours] | None:
    """Return the hours of training, which the tasks share, and of all tasks; None: not known."""
    each = [spent(folder) for folder in folders]
    told = [hours for hours in each if hours is not None]
    if len(told) < len(each):
        return None
    answering: dict[str, float] = {}
    for hours in told:
        for kind, value in hours[ANSWERING].items():
            answering[kind] = answering.get(kind, 0.0) + value
    return {TRAINING: told[0][TRAINING], ANSWERING: answering}
