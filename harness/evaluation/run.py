"""Grade one contestant on one benchmark: answer, audit, judge, score.

A result's score carries notes on dropped prompts, refused requests, the audit and the screen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.core.hours import Hours
from harness.core.naming import check_name
from harness.core.stages import ExternalInput, Stage
from harness.core.versions import installed_versions
from harness.core.workspace import Result, Workspace, result_path, write_result
from harness.errors import AssetError, CheckError, MissingDependencyError
from harness.evaluation import gaming, identities, input_audit, second_opinions
from harness.evaluation.second_opinions import SecondOpinions
from harness.evaluation.submissions import Matchup, Submission, all_turns
from harness.protocols import (
    Benchmark,
    GenerationEngine,
    PersistentJudge,
    PolicySource,
    ReadyJudge,
    TrainedPolicySource,
)
from harness.types import Answer, CostEstimate, Graded, JudgeRequest, Score, Usage, Verdict

SMALL_MASS = 0.1
"""The probability of the labels below which a verdict says little."""
TYPICAL_ANSWER = "This sentence stands for one of an answer of a common length. " * 25
MAX_REASONS = 3
"""Reasons for refusals that a note lists."""


@dataclass(frozen=True)
class Evaluation:
    """A contestant, a benchmark and a judge. The answers come from a file or from a policy."""

    benchmark: Benchmark
    judge: PersistentJudge
    answers: Path | None = None
    """A file in one of the protocol's own formats."""
    policy: PolicySource | None = None
    """The policy that answers, if there is no file."""
    engine: GenerationEngine | None = None
    """Required if the contestant or the benchmark's baseline is a policy."""
    label: str | None = None
    """The contestant's name in tables; default: the file's generator or the policy's name."""
    seed: int = 0
    allow_missing: bool = False
    """Drop the prompts that the file does not answer."""
    accept_input: bool = False
    """Continue although the audit of the input finds a reason to stop."""
    replace: bool = False
    """Overwrite a result of the same identity and other content."""
    opinions: SecondOpinions = field(default_factory=SecondOpinions)
    """Who else is asked about a sample of the answers."""

    @property
    def submission(self) -> Submission:
        """The source of the answers."""
        return Submission(
            self.benchmark,
            self.answers,
            self.policy,
            self.engine,
            self.seed,
            self.allow_missing,
            self.label,
        )


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation would do."""

    stages: list[tuple[Stage, Path | None]]
    """The stages that generate answers, each with its directory if cached."""
    requests: int | None
    """The number of verdicts needed; None until the answers exist."""
    new_requests: int | None
    """The number of verdicts that are not stored yet."""
    findings: tuple[input_audit.AuditFinding, ...] = ()
    """Of the audit: until the answers exist, of what needs none."""
    cost_estimate: CostEstimate | None = None
    """Of the new requests; None until the answers exist."""


def evaluate(evaluation: Evaluation, workspace: Workspace) -> Result:
    """Grade a contestant and write the result to the workspace.

    Raises:
        ConfigError: neither a file nor a policy is given, or both are, or no engine is.
        InputError: the answers file does not fit the benchmark.
        JudgeError: the judge cannot be reached or refuses; the verdicts so far are stored.
        StoreError: a store cannot be read or written.
        ResultExistsError: there is a result of the same identity and other content.
        CheckError: the audit stops the evaluation, or no verdict could be parsed.
    """
    benchmark, judge = evaluation.benchmark, evaluation.judge
    check_name(benchmark.name, "benchmark")
    _look_ahead(evaluation, workspace)
    matchup = evaluation.submission.collect(workspace)
    label = check_name(evaluation.label or matchup.candidate.name, "label")
    findings = _audit(evaluation, matchup)
    requests = benchmark.requests(matchup.candidate.answers, matchup.baseline.answers)
    settings = judge.request_settings(requests[0]) if requests else {}
    sources = benchmark.sources()
    identity = _identity(evaluation, matchup, sources, settings)
    result_path(workspace, benchmark.name, label, identity)  # refuses before a verdict is paid
    new_requests = judge.count_pending(requests, benchmark)
    with workspace.track(f"{label} · judge {benchmark.name}", len(requests)) as advance:
        verdicts = judge.judge(requests, benchmark, advance)
    _check_parsed(evaluation, verdicts)
    graded = _graded(evaluation, matchup, label, verdicts)
    score = annotate_score(
        benchmark.score([graded])[0],
        graded,
        matchup.candidate.missing,
        findings,
        matchup.generation.get("missing", {}),
    )
    score = _with_opinions(evaluation, score, graded, workspace)
    result = build_result(
        identity,
        graded,
        score,
        missing=matchup.candidate.missing,
        new_requests=new_requests,
        generation=matchup.generation,
        usage=judge.usage(requests, benchmark),
        hours=matchup.hours,
        run=run_of(evaluation.policy),
    )
    files = benchmark.files(graded)
    write_result(workspace, result, graded, files, replace=evaluation.replace)
    return result


def _with_opinions(
    evaluation: Evaluation, score: Score, graded: Graded, workspace: Workspace
) -> Score:
    opinions = evaluation.opinions.collect(evaluation.benchmark, graded, workspace)
    notes = (*score.notes, *second_opinions.notes(opinions))
    return replace(score, notes=notes, details={**score.details, **opinions})


def _identity(
    evaluation: Evaluation,
    matchup: Matchup,
    sources: Mapping[str, str],
    judge_settings: Mapping[str, Any],
) -> dict[str, Any]:
    run, answers = run_of(evaluation.policy), matchup.candidate.answers
    return identities.result_identity(
        benchmark=identities.benchmark_identity(evaluation.benchmark, sources),
        contestant=identities.contestant_identity(
            run, matchup.generation, identities.answers_sha256(answers)
        ),
        judge=evaluation.judge.model,
        judge_settings=judge_settings,
        baseline=identities.baseline_identity(matchup.baseline.name, matchup.baseline_sha256),
    )


def plan(evaluation: Evaluation, workspace: Workspace) -> EvaluationPlan:
    """Return what `evaluate` would do, without doing it.

    Raises:
        AssetError: the judge's texts or reference answers are missing.
    """
    submission = evaluation.submission
    stages = [step for node in submission.stages(workspace) for step in workspace.stages.plan(node)]
    if any(path is None for _, path in stages):
        return EvaluationPlan(stages, None, None, tuple(_early_findings(evaluation)))
    benchmark, matchup = evaluation.benchmark, submission.collect(workspace)
    requests = benchmark.requests(matchup.candidate.answers, matchup.baseline.answers)
    estimate = evaluation.judge.estimate_cost(requests, benchmark)
    return EvaluationPlan(
        stages, len(requests), estimate.calls, tuple(_findings(evaluation, matchup)), estimate
    )


def _findings(evaluation: Evaluation, matchup: Matchup) -> list[input_audit.AuditFinding]:
    rendering = input_audit.check_rendering(matchup.generation.get("rendering"))
    references = input_audit.check_references(matchup.prompts, evaluation.judge.model)
    answers = input_audit.check_answers(matchup.candidate.answers)
    return rendering + answers + input_audit.check_quotes(matchup.candidate) + references


def _look_ahead(evaluation: Evaluation, workspace: Workspace) -> None:
    """Look at what needs no answers before a policy generates them.

    Raises:
        AssetError: the judge's texts or reference answers are missing.
        CheckError: the audit finds a reason to stop.
        JudgeError: the judge cannot be asked.
    """
    plans = [
        s for node in evaluation.submission.stages(workspace) for s in workspace.stages.plan(node)
    ]
    if all(path is not None for _, path in plans):
        return
    findings = _early_findings(evaluation)
    for judge in (evaluation.judge, evaluation.opinions.judge):
        if isinstance(judge, ReadyJudge):
            judge.check_ready()
    _stop_at(findings, evaluation)


def _early_findings(evaluation: Evaluation) -> list[input_audit.AuditFinding]:
    """Return the findings that need no answers; rendering the requests misses lacking texts."""
    benchmark, submission = evaluation.benchmark, evaluation.submission
    prompts = all_turns(benchmark, None)
    placeholders = [Answer(prompt.id, TYPICAL_ANSWER) for prompt in prompts]
    baseline = benchmark.baseline_answers()
    others = [replace(answer, text=f"{answer.text} ") for answer in placeholders]
    benchmark.requests(placeholders, others if baseline is None else baseline)
    findings = input_audit.check_references(prompts, evaluation.judge.model)
    policy = submission.answering_policy()
    if policy is not None and isinstance(weights := policy.weights(), ExternalInput):
        rendering = input_audit.rendering_facts(policy.with_weights(weights.path), prompts)
        findings += input_audit.check_rendering(rendering)
    return findings


def _audit(evaluation: Evaluation, matchup: Matchup) -> list[input_audit.AuditFinding]:
    """Return the findings of the audit; raise CheckError if one of them is a stop."""
    findings = _findings(evaluation, matchup)
    _stop_at(findings, evaluation)
    return findings


def _stop_at(findings: Sequence[input_audit.AuditFinding], evaluation: Evaluation) -> None:
    stops = [finding.message for finding in findings if finding.level == "stop"]
    if stops and not evaluation.accept_input:
        raise CheckError(
            f"{'; '.join(stops)}: the judge was not asked; continue anyway with --accept-input"
        )


def _check_parsed(evaluation: Evaluation, verdicts: Sequence[Verdict]) -> None:
    """Refuse to score if no verdict could be parsed: the figure would be made of ties alone."""
    if verdicts and all(verdict.refusal for verdict in verdicts):
        raise CheckError(
            f"{evaluation.judge.model} refused all {len(verdicts)} requests of "
            f"{evaluation.benchmark.name} ({verdicts[0].refusal}): name another judge, or ask "
            "this one again with --retry-unread"
        )
    if verdicts and all(verdict.parsed is None for verdict in verdicts):
        raise CheckError(
            f"{evaluation.judge.model} answers, but none of its {len(verdicts)} replies can be "
            f"parsed by the rule of {evaluation.benchmark.name}: name a judge that fits the "
            "protocol (does it return the requested log-probabilities?), or ask this one again "
            "with --set judge.unparsed_attempts=9"
        )


def _graded(
    evaluation: Evaluation, matchup: Matchup, label: str, verdicts: Sequence[Verdict]
) -> Graded:
    return Graded(
        label=label,
        judge=evaluation.judge.model,
        answers=matchup.candidate.answers,
        baseline=matchup.baseline.answers,
        verdicts=tuple(verdicts),
        prompts=matchup.prompts,
        baseline_label=matchup.baseline.name,
    )


def typical_requests(benchmark: Benchmark) -> Sequence[JudgeRequest] | None:
    """Return the requests about a contestant as long as the baseline, before it has answered.

    None if a policy has to answer as the baseline, or the benchmark's data is missing. The
    baseline's own answers serve as the contestant's: about as long, and to the same prompts;
    without a baseline, a text of a common length does.
    """
    try:
        baseline = benchmark.baseline_answers()
        if baseline is None:
            return None
        answers = [replace(answer, text=f"{answer.text} ") for answer in baseline]
        if not baseline:
            answers = [Answer(p.id, TYPICAL_ANSWER) for p in all_turns(benchmark, None)]
        return benchmark.requests(answers, baseline)
    except (AssetError, MissingDependencyError):
        return None


def run_of(policy: PolicySource | None) -> Mapping[str, Any] | None:
    """Return the training run that a policy comes from; None if it was not trained here."""
    return policy.run() if isinstance(policy, TrainedPolicySource) else None


def build_result(
    identity: Mapping[str, Any],
    graded: Graded,
    score: Score,
    *,
    missing: int = 0,
    new_requests: int = 0,
    generation: Mapping[str, Any] | None = None,
    usage: Usage | None = None,
    hours: Mapping[str, Hours] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Result:
    """Return the result of a contestant on a benchmark; see `identities.result_identity`."""
    lengths = [len(answer.text) for answer in graded.answers]
    return Result(
        benchmark=identity["benchmark"]["name"],
        label=graded.label,
        baseline=graded.baseline_label,
        judge=graded.judge,
        judges_served=tuple(sorted({v.model for v in graded.verdicts if v.model})),
        score=score,
        answers=len(lengths),
        missing=missing,
        mean_length=sum(lengths) / len(lengths) if lengths else None,
        finish_reasons=input_audit.finish_reasons(graded.answers),
        truncated=input_audit.truncated_share(graded.answers),
        requests=len(graded.verdicts),
        new_requests=new_requests,
        versions=installed_versions(),
        answers_sha256=identities.answers_sha256(graded.answers),
        judge_settings=identity["judge"]["settings"],
        sources=identity["benchmark"]["sources"],
        generation=dict(generation or {}),
        usage=usage,
        hours=hours,
        run=run,
        identity=identity,
    )


def annotate_score(
    score: Score,
    graded: Graded,
    missing: int = 0,
    findings: Sequence[input_audit.AuditFinding] = (),
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> Score:
    """Return the score with notes on dropped prompts, refusals, the audit and the screen.

    Args:
        score: the score.
        graded: what was graded.
        missing: the number of prompts without an answer.
        findings: of the audit.
        reasons: why the engine gave no answer, by prompt.
    """
    signs = gaming.screen(graded, score.estimates)
    notices = [f"{missing} prompts without an answer are dropped"] if missing else []
    notices += missing_notes(reasons)
    notices += refusal_notes(graded) + mass_notes(graded)
    notes = (*score.notes, *notices, *(f.message for f in findings), *gaming.notes(signs))
    return replace(score, notes=notes, details={**score.details, "screen": signs})


def mass_notes(graded: Graded) -> list[str]:
    """Return a note on the verdicts whose labels were unlikely tokens of the judge's reply."""
    weak = sum(
        v.parsed is not None and v.parsed.mass is not None and v.parsed.mass < SMALL_MASS
        for v in graded.verdicts
    )
    if not weak:
        return []
    return [
        f"{weak} of {len(graded.verdicts)} verdicts rest on less than {SMALL_MASS:.0%} of the "
        "judge's probability: most of it was on tokens that are no verdict"
    ]


def missing_notes(reasons: Mapping[str, str]) -> list[str]:
    """Return a note on the prompts that the engine's server did not answer, with the reasons."""
    if not reasons:
        return []
    common = _commonest(Counter(reasons.values()))
    return [
        f"the engine's server refused {len(reasons)} prompts or never answered them ({common}); "
        "ask again later with --retry-unread"
    ]


def _commonest(reasons: Counter[str]) -> str:
    return "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(MAX_REASONS))


def refusal_notes(graded: Graded) -> list[str]:
    """Return a note on the requests that the server refused or failed at, with the reasons."""
    reasons = Counter(v.refusal for v in graded.verdicts if v.refusal)
    if not reasons:
        return []
    common = _commonest(reasons)
    return [
        f"{reasons.total()} of {len(graded.verdicts)} requests have no verdict: the judge's server "
        f"refused them or never replied ({common}); comparisons without a verdict are dropped. Ask "
        "again later, or e.g. a server with a longer context, with --retry-unread"
    ]
