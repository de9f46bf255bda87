"""Who else is asked about an evaluation's answers: a second judge, an oracle."""

from __future__ import annotations

from pathlib import Path

from harness.api.components import Overrides, Source, build_component, select_overrides
from harness.api.judging import bind_judge
from harness.core.config import Component, build
from harness.core.workspace import Workspace
from harness.errors import ConfigError
from harness.evaluation.second_opinions import SecondOpinions
from harness.judges.batch import BatchJudge
from harness.judges.cached import CachedJudge, JudgeOptions
from harness.judges.panel import PanelJudge
from harness.judges.program import ProgramJudge
from harness.protocols import (
    PersistentJudge,
    PolicySource,
    PreferenceOracle,
    TrainedPolicySource,
)

OWN_ORACLE = "run"
"""Names the oracle of the run whose policy is evaluated."""


def second_opinions(
    judge: Source | None,
    oracle: Source | None,
    first: PersistentJudge,
    candidate: PolicySource | None,
    workspace: Workspace,
    overrides: Overrides,
) -> SecondOpinions:
    """Return who else is asked; `first` is the judge, `candidate` the policy that answers.

    Raises:
        ConfigError: there is no such judge or oracle, or the second judge is the first one.
    """
    if (judge is not None or oracle is not None) and isinstance(first, ProgramJudge):
        raise ConfigError("a program checks the answers: leave out --second-judge and --oracle")
    name = str(oracle) if isinstance(oracle, str | Path) else type(oracle).__name__
    return SecondOpinions(
        None if judge is None else _second(judge, first, workspace, overrides),
        None if oracle is None else _oracle(oracle, candidate, workspace),
        name,
    )


def _second(
    source: Source, first: PersistentJudge, workspace: Workspace, overrides: Overrides
) -> PersistentJudge:
    """Return the second judge, which shares the first one's budget.

    Raises:
        ConfigError: there is no such judge, or it is the first one.
    """
    selected = select_overrides(overrides, "second_judge")
    second = bind_judge(source, workspace, {f"judge.{k}": v for k, v in selected.items()})
    if second.model == first.model:
        raise ConfigError(f"{second.model} is the first judge: name an unrelated --second-judge")
    if isinstance(second, CachedJudge) and (options := _options_of(first)):
        second = second.model_copy(update={"options": JudgeOptions(options.budget)})
    return second


def _options_of(judge: PersistentJudge) -> JudgeOptions | None:
    match judge:
        case CachedJudge() | BatchJudge():
            return judge.options
        case PanelJudge():
            return _options_of(judge.members[0])
    return None


def _oracle(
    source: Source, candidate: PolicySource | None, workspace: Workspace
) -> PreferenceOracle:
    """Return an oracle by its name, or `run` for the one that the policy was trained with.

    Raises:
        ConfigError: there is no such oracle, or nothing was trained.
    """
    if source == OWN_ORACLE:
        if not isinstance(candidate, TrainedPolicySource):
            raise ConfigError("--oracle run is the oracle of a run: name the run with --run")
        oracle: PreferenceOracle = build(candidate.run()["config"]["oracle"], "oracle")
    else:
        oracle = build_component("oracle", source)
    if isinstance(oracle, Component):
        oracle = oracle.in_workspace(workspace.root)
    return oracle
