"""Answer, judge, score: one contestant on one benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from harness.errors import CheckError, ConfigError
from harness.evaluation import results
from harness.evaluation.answering import answer_stage, read_stage
from harness.evaluation.answers import Answers, read_answers
from harness.evaluation.results import Result
from harness.protocols import Benchmark, GenerationEngine, Judge, PolicySource, Reader
from harness.runs import Stage, Workspace, versions
from harness.seeds import digest
from harness.types import JudgeRequest, Prompt, Verdict


@runtime_checkable
class RememberingJudge(Judge, Protocol):
    """A judge that keeps its verdicts."""

    def pending(self, requests: Sequence[JudgeRequest], read: Reader) -> int:
        """Return how many of the requests it would have to be asked."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Who is to be graded, on what, by whom. Answers come from a file or from a policy."""

    benchmark: Benchmark
    judge: RememberingJudge
    answers: Path | None = None
    """A file in alpaca_eval's format."""
    policy: PolicySource | None = None
    """Who answers, where there is no file."""
    engine: GenerationEngine | None = None
    """Needed where a policy has to answer: the contestant, or the benchmark's baseline."""
    label: str | None = None
    """What tables call the contestant; the generator's or the policy's name if not given."""
    seed: int = 0
    allow_missing: bool = False
    """Leave prompts out that the file does not answer."""


@dataclass(frozen=True)
class Plan:
    """What an evaluation would do."""

    stages: list[tuple[Stage, Path | None]]
    """The stages that answer, each with its directory if it stands."""
    requests: int | None
    """How many verdicts it takes; None while there are no answers."""
    asked: int | None
    """How many of them would be asked, the others being stored."""


def evaluate(evaluation: Evaluation, workspace: Workspace) -> Result:
    """Grade a contestant and leave the result in the workspace.

    Raises:
        ConfigError: nothing says who answers, or with which engine.
        InputError: the answers file does not fit.
        JudgeError: the judge cannot be reached or refuses; the verdicts so far are kept.
        StoreError: a store cannot be used.
        CheckError: no verdict could be read.
    """
    benchmark, judge = evaluation.benchmark, evaluation.judge
    prompts = benchmark.prompts()
    ours, theirs = _contestants(evaluation, prompts, workspace)
    requests = benchmark.requests(ours.answers, theirs.answers)
    asked = judge.pending(requests, benchmark.read)
    with workspace.track(f"{ours.name} · judge {benchmark.name}", len(requests)) as advance:
        verdicts = judge.judge(requests, benchmark.read, advance)
    _check_read(evaluation, verdicts)
    score = benchmark.score(ours.answers, theirs.answers, verdicts)
    if ours.missing:
        told = f"{ours.missing} of {len(prompts)} prompts have no answer and are left out"
        score = replace(score, notes=(*score.notes, told))
    result = Result(
        benchmark=benchmark.name,
        label=evaluation.label or ours.name,
        judge=judge.model,
        judges_served=tuple(sorted({verdict.model for verdict in verdicts})),
        score=score,
        answers=len(ours.answers),
        missing=ours.missing,
        mean_length=sum(len(a.text) for a in ours.answers) / len(ours.answers),
        requests=len(requests),
        asked=asked,
        versions=versions(),
        answers_sha256=digest([[a.prompt_id, a.text] for a in ours.answers]),
    )
    results.write(workspace, result, ours, theirs, prompts)
    return result


def plan(evaluation: Evaluation, workspace: Workspace) -> Plan:
    """Say what `evaluate` would do, and do nothing."""
    nodes = [
        _stage(evaluation, policy)
        for policy in (_answering(evaluation), _baseline(evaluation))
        if policy is not None
    ]
    stages = [entry for node in nodes for entry in workspace.stages.plan(node)]
    if any(path is None for _, path in stages):
        return Plan(stages, None, None)
    benchmark = evaluation.benchmark
    ours, theirs = _contestants(evaluation, benchmark.prompts(), workspace)
    requests = benchmark.requests(ours.answers, theirs.answers)
    return Plan(stages, len(requests), evaluation.judge.pending(requests, benchmark.read))


def _check_read(evaluation: Evaluation, verdicts: Sequence[Verdict]) -> None:
    """Refuse to make a figure of draws alone because the judge does not fit the protocol."""
    if verdicts and all(verdict.reading is None for verdict in verdicts):
        raise CheckError(
            f"{evaluation.judge.model} answers, but none of its {len(verdicts)} replies can be "
            f"read by the rule of {evaluation.benchmark.name}: name a judge that fits the protocol "
            "(does it give the log-probabilities that are asked for?), or ask this one again with "
            "--set judge.unread_attempts=4"
        )


def _contestants(
    evaluation: Evaluation, prompts: Sequence[Prompt], workspace: Workspace
) -> tuple[Answers, Answers]:
    """Return our answers and the baseline's, of the prompts that we answer, in their order."""
    if policy := _answering(evaluation):
        ours = _answered(evaluation, policy, workspace)
    else:
        assert evaluation.answers is not None
        ours = read_answers(evaluation.answers, prompts, evaluation.allow_missing)
    if policy := _baseline(evaluation):
        theirs = _answered(evaluation, policy, workspace)
    else:
        name = prompts[0].meta.get("baseline", "baseline")
        theirs = Answers(name, tuple(evaluation.benchmark.baseline_answers() or ()))
    answered = {answer.prompt_id for answer in ours.answers}
    kept = tuple(answer for answer in theirs.answers if answer.prompt_id in answered)
    return ours, replace(theirs, answers=kept)


def _answering(evaluation: Evaluation) -> PolicySource | None:
    """Return the policy that has to answer, or None where a file does."""
    if (evaluation.answers is None) == (evaluation.policy is None):
        raise ConfigError("say who answers: an answers file or a policy, one of them")
    return evaluation.policy


def _baseline(evaluation: Evaluation) -> PolicySource | None:
    """Return the policy that has to answer as the baseline, or None where answers are published."""
    if evaluation.benchmark.baseline_answers() is not None:
        return None
    if evaluation.benchmark.baseline is None:
        raise ConfigError(f"{evaluation.benchmark.name} has no baseline: set baseline={{...}}")
    return evaluation.benchmark.baseline


def _stage(evaluation: Evaluation, policy: PolicySource) -> Stage:
    if evaluation.engine is None:
        raise ConfigError(f"{policy.name} has to answer: name an engine with --engine")
    return answer_stage(policy, evaluation.benchmark, evaluation.engine, evaluation.seed)


def _answered(evaluation: Evaluation, policy: PolicySource, workspace: Workspace) -> Answers:
    stage = _stage(evaluation, policy)
    return Answers(policy.name, read_stage(workspace.stages.realise(stage).path))
