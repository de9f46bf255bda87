"""Answer, audit, judge, score: one contestant on one benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.errors import CheckError
from harness.evaluation import audit, results
from harness.evaluation.contestants import Contest, Entry
from harness.evaluation.results import Result
from harness.evaluation.scoring import noted
from harness.protocols import Benchmark, GenerationEngine, Judge, PolicySource, Reader
from harness.runs import Stage, Workspace
from harness.types import Bill, Forecast, Graded, JudgeRequest, Verdict


@runtime_checkable
class RememberingJudge(Judge, Protocol):
    """A judge that keeps its verdicts."""

    def pending(self, requests: Sequence[JudgeRequest], reader: Reader) -> int:
        """Return how many of the requests it would have to be asked."""
        ...

    def forecast(self, requests: Sequence[JudgeRequest], reader: Reader) -> Forecast:
        """Say what asking those of them will take that are not stored."""
        ...

    def bill(self, requests: Sequence[JudgeRequest], reader: Reader) -> Bill:
        """Return what the verdicts on them have cost, in whatever run."""
        ...

    def asked_with(self, request: JudgeRequest) -> Mapping[str, Any]:
        """Return what a request is asked with besides its text: the protocol's and its own."""
        ...


@runtime_checkable
class MadeByRun(Protocol):
    """A policy that a run has made."""

    def run(self) -> Mapping[str, Any]:
        """Return the run's name, its method, the iteration, and the policy that it began with."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Who is to be graded, on what, by whom. Answers come from a file or from a policy."""

    benchmark: Benchmark
    judge: RememberingJudge
    answers: Path | None = None
    """A file in one of the protocol's own formats."""
    policy: PolicySource | None = None
    """Who answers, where there is no file."""
    engine: GenerationEngine | None = None
    """Needed where a policy has to answer: the contestant, or the benchmark's baseline."""
    label: str | None = None
    """What tables call the contestant; the generator's or the policy's name if not given."""
    seed: int = 0
    allow_missing: bool = False
    """Leave prompts out that the file does not answer."""
    accept_input: bool = False
    """Go on where the audit of the input would stop."""

    @property
    def entry(self) -> Entry:
        """Who answers."""
        return Entry(
            self.benchmark,
            self.answers,
            self.policy,
            self.engine,
            self.seed,
            self.allow_missing,
            self.label,
        )


@dataclass(frozen=True)
class Plan:
    """What an evaluation would do."""

    stages: list[tuple[Stage, Path | None]]
    """The stages that answer, each with its directory if it stands."""
    requests: int | None
    """How many verdicts it takes; None while there are no answers."""
    asked: int | None
    """How many of them would be asked, the others being stored."""
    findings: tuple[audit.Finding, ...] = ()
    """Of the audit, where the answers are there."""
    forecast: Forecast | None = None
    """What asking will take; None while there are no answers."""


def evaluate(evaluation: Evaluation, workspace: Workspace) -> Result:
    """Grade a contestant and leave the result in the workspace.

    Raises:
        ConfigError: nothing says who answers, or with which engine.
        InputError: the answers file does not fit.
        JudgeError: the judge cannot be reached or refuses; the verdicts so far are kept.
        StoreError: a store cannot be used.
        CheckError: the audit stops the evaluation, or no verdict could be read.
    """
    benchmark, judge = evaluation.benchmark, evaluation.judge
    contest = evaluation.entry.contest(workspace)
    findings = _audited(evaluation, contest)
    requests = benchmark.requests(contest.ours.answers, contest.theirs.answers)
    asked = judge.pending(requests, benchmark)
    label = evaluation.label or contest.ours.name
    with workspace.track(f"{label} · judge {benchmark.name}", len(requests)) as advance:
        verdicts = judge.judge(requests, benchmark, advance)
    _check_read(evaluation, verdicts)
    graded = _graded(evaluation, contest, label, verdicts)
    score = noted(benchmark.score([graded])[0], graded, contest.ours.missing, findings)
    result = results.result(
        benchmark,
        graded,
        score,
        missing=contest.ours.missing,
        asked=asked,
        answered=contest.facts,
        judged_with=judge.asked_with(requests[0]) if requests else None,
        bill=judge.bill(requests, benchmark),
        hours=contest.hours,
        run=evaluation.policy.run() if isinstance(evaluation.policy, MadeByRun) else None,
    )
    results.write(workspace, result, graded, benchmark.files(graded))
    return result


def plan(evaluation: Evaluation, workspace: Workspace) -> Plan:
    """Say what `evaluate` would do, and do nothing."""
    entry = evaluation.entry
    stages = [found for node in entry.stages() for found in workspace.stages.plan(node)]
    if any(path is None for _, path in stages):
        return Plan(stages, None, None)
    benchmark, contest = evaluation.benchmark, entry.contest(workspace)
    requests = benchmark.requests(contest.ours.answers, contest.theirs.answers)
    found = evaluation.judge.forecast(requests, benchmark)
    return Plan(stages, len(requests), found.calls, tuple(_findings(evaluation, contest)), found)


def _findings(evaluation: Evaluation, contest: Contest) -> list[audit.Finding]:
    rendering = audit.of_rendering(contest.facts.get("rendering"))
    references = audit.of_references(contest.prompts, evaluation.judge.model)
    return rendering + audit.of_answers(contest.ours.answers) + references


def _audited(evaluation: Evaluation, contest: Contest) -> list[audit.Finding]:
    """Return what the audit finds; stop before the judge is asked where it must."""
    found = _findings(evaluation, contest)
    stops = [finding.told for finding in found if finding.level == "stop"]
    if stops and not evaluation.accept_input:
        raise CheckError(
            f"{'; '.join(stops)}: nothing was asked; go on all the same with --accept-input"
        )
    return found


def _check_read(evaluation: Evaluation, verdicts: Sequence[Verdict]) -> None:
    """Refuse to make a figure of draws alone because the judge does not fit the protocol."""
    if verdicts and all(verdict.refusal for verdict in verdicts):
        raise CheckError(
            f"{evaluation.judge.model} has refused all {len(verdicts)} requests of "
            f"{evaluation.benchmark.name} ({verdicts[0].refusal}): name another judge, or have "
            "this one asked again with --set judge.ask_refused=true"
        )
    if verdicts and all(verdict.reading is None for verdict in verdicts):
        raise CheckError(
            f"{evaluation.judge.model} answers, but none of its {len(verdicts)} replies can be "
            f"read by the rule of {evaluation.benchmark.name}: name a judge that fits the protocol "
            "(does it give the log-probabilities that are asked for?), or ask this one again with "
            "--set judge.unread_attempts=9"
        )


def _graded(
    evaluation: Evaluation, contest: Contest, label: str, verdicts: Sequence[Verdict]
) -> Graded:
    return Graded(
        label=label,
        judge=evaluation.judge.model,
        answers=contest.ours.answers,
        baseline=contest.theirs.answers,
        verdicts=tuple(verdicts),
        prompts=contest.prompts,
        baseline_label=contest.theirs.name,
    )
