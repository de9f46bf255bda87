"""Who is graded against whom: answers from a file or from a policy, and the baseline's.

A policy answers a benchmark's prompts: a stage of the store, so no policy answers twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.config import identity
from harness.core.hours import Hours, compute_hours
from harness.core.io import write_atomically
from harness.core.seeds import canonical_json, derive, digest
from harness.core.stages import Stage
from harness.core.terminal import shorten
from harness.core.workspace import Workspace
from harness.errors import ConfigError, InputError
from harness.evaluation import input_audit
from harness.protocols import Benchmark, GenerationEngine, PolicySource, accelerators_needed
from harness.types import Advance, Answer, Answers, Completion, Policy, Prompt, Request, Track


@dataclass(frozen=True)
class Matchup:
    """What is graded: the answers of both sides, to the prompts that we answer."""

    candidate: Answers
    baseline: Answers
    prompts: tuple[Prompt, ...]
    """Of every turn, those without an answer left out."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """How our answers were made; empty where a file was handed in."""
    hours: Mapping[str, Hours] | None = None
    """How long machines have worked for our answers; None where that is not known."""


@dataclass(frozen=True)
class Submission:
    """Who answers: a file or a policy, one of them; and the engine where somebody has to."""

    benchmark: Benchmark
    answers: Path | None
    policy: PolicySource | None
    engine: GenerationEngine | None
    seed: int
    allow_missing: bool
    label: str | None

    def stages(self) -> list[Stage]:
        """Return the stages that have to answer."""
        policies = (self.answering_policy(), self._baseline_policy())
        return [self._answer_stage(policy) for policy in policies if policy is not None]

    def collect(self, workspace: Workspace) -> Matchup:
        """Return both sides' answers, making what does not stand.

        Raises:
            ConfigError: nothing says who answers, or with which engine.
            InputError: the answers file does not fit.
        """
        facts: Mapping[str, Any] = {}
        hours = None
        if policy := self.answering_policy():
            path = self._answer_path(policy, workspace)
            candidate, facts = Answers(policy.name, load_answers(path)), load_facts(path)
            hours = compute_hours(Path(path))
        else:
            candidate = self._read_file()
        if policy := self._baseline_policy():
            baseline = Answers(policy.name, load_answers(self._answer_path(policy, workspace)))
        else:
            baseline = self._published_baseline()
        prompts = all_turns(self.benchmark, candidate.answers)
        answered_ids = {answer.prompt_id for answer in candidate.answers}
        matching = tuple(answer for answer in baseline.answers if answer.prompt_id in answered_ids)
        answered_prompts = tuple(prompt for prompt in prompts if prompt.id in answered_ids)
        return Matchup(
            candidate, replace(baseline, answers=matching), answered_prompts, facts, hours
        )

    def answering_policy(self) -> PolicySource | None:
        """Return the policy that has to answer, or None where a file does."""
        if (self.answers is None) == (self.policy is None):
            raise ConfigError("say who answers: an answers file or a policy, one of them")
        return self.policy

    def _baseline_policy(self) -> PolicySource | None:
        """Return the policy that answers as the baseline; None where answers are published."""
        if self.benchmark.baseline_answers() is not None:
            return None
        if self.benchmark.baseline is None:
            raise ConfigError(f"{self.benchmark.name} has no baseline: set baseline={{...}}")
        return self.benchmark.baseline

    def _published_baseline(self) -> Answers:
        name = self.benchmark.prompts()[0].meta.get("baseline", "baseline")
        return Answers(name, tuple(self.benchmark.baseline_answers() or ()))

    def _answer_stage(self, policy: PolicySource) -> Stage:
        if self.engine is None:
            raise ConfigError(f"{policy.name} has to answer: name an engine with --engine")
        return answer_stage(policy, self.benchmark, self.engine, self.seed)

    def _answer_path(self, policy: PolicySource, workspace: Workspace) -> str:
        return workspace.stages.materialize(self._answer_stage(policy)).path

    def _read_file(self) -> Answers:
        assert self.answers is not None
        answers = select_answers(
            self.answers, self.benchmark.read_answers(self.answers), self.label
        )
        prompts = all_turns(self.benchmark, None)
        missing = unanswered(prompts, answers.answers)
        if missing and not (self.allow_missing and answers.answers):
            raise InputError(
                f"{self.answers}: {len(missing)} of {len(prompts)} prompts have no answer, e.g. "
                f"{shorten(missing[0].text or missing[0].id)!r}: answer them too, or leave them out "
                "with --allow-missing"
            )
        return replace(answers, missing=len(missing))


def unanswered(prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
    """Return the prompts without an answer."""
    answered_ids = {answer.prompt_id for answer in answers}
    return [prompt for prompt in prompts if prompt.id not in answered_ids]


def select_answers(path: Path, contestants: Sequence[Answers], label: str | None) -> Answers:
    """Return the one contestant of a file, or the one that the label names."""
    if len(contestants) == 1:
        return contestants[0]
    names = [answers.name for answers in contestants]
    if label in names:
        return contestants[names.index(label)]
    raise InputError(
        f"{path} holds {len(contestants)} contestants ({', '.join(names[:6])}): name one with --label"
    )


VERSION = 2
"""Raised when the same inputs would now give other answers."""
ANSWERS_FILE, FACTS_FILE = "answers.json", "facts.json"


def answer_stage(
    policy: PolicySource, benchmark: Benchmark, engine: GenerationEngine, seed: int
) -> Stage:
    """Return the stage that makes one answer a prompt, turn after turn.

    A prompt's seed depends on the seed and its id only: the answers of a benchmark with more
    prompts are the same where both have them.
    """
    prompts = all_turns(benchmark, None)
    config = {
        "engine": identity(engine),
        "prompts": digest(
            [
                [p.id, [asdict(m) for m in p.messages], identity(benchmark.sampling_for(p))]
                for p in prompts
            ]
        ),
        "seed": seed,
    }
    label = f"{policy.name} · answer {benchmark.name}"
    run = partial(_generate_answers, policy, engine, benchmark, seed, label)
    size = f"{len(prompts)} prompts"
    inputs = {"policy": policy.weights()}
    arguments = (config, inputs, run, label, size)
    return Stage(
        "answer", VERSION, *arguments, device=True, accelerators=accelerators_needed(engine)
    )


def all_turns(benchmark: Benchmark, answers: Iterable[Answer] | None) -> list[Prompt]:
    """Return the prompts of every turn; what follows on a prompt without an answer is left out.

    Without `answers` everything is taken to be answered with nothing: it shows how many there are.
    """
    by_prompt = None if answers is None else {answer.prompt_id: answer for answer in answers}
    turn, prompts = benchmark.prompts(), list[Prompt]()
    while turn:
        prompts += turn
        answered_prompts = turn if by_prompt is None else [p for p in turn if p.id in by_prompt]
        replies = [
            Answer(p.id, "") if by_prompt is None else by_prompt[p.id] for p in answered_prompts
        ]
        turn = benchmark.next_prompts(answered_prompts, replies)
    return prompts


def sampling_settings(benchmark: Benchmark, prompts: Sequence[Prompt]) -> list[Any]:
    """Return every way in which the prompts are sampled, once."""
    settings = [identity(benchmark.sampling_for(prompt)) for prompt in prompts]
    return [setting for i, setting in enumerate(settings) if setting not in settings[:i]]


def load_answers(path: str) -> tuple[Answer, ...]:
    """Read the answers of a stage that stands, in the order of the prompts."""
    rows = json.loads((Path(path) / ANSWERS_FILE).read_text(encoding="utf-8"))
    return tuple(Answer(**row) for row in rows)


def load_facts(path: str) -> dict[str, Any]:
    """Read what a stage that stands tells of how it was made."""
    facts: dict[str, Any] = json.loads((Path(path) / FACTS_FILE).read_text(encoding="utf-8"))
    return facts


def _generate_answers(
    policy: PolicySource,
    engine: GenerationEngine,
    benchmark: Benchmark,
    seed: int,
    label: str,
    out: Path,
    inputs: Mapping[str, str],
    track: Track,
) -> None:
    weights, turn = policy.with_weights(inputs["policy"]), benchmark.prompts()
    facts: dict[str, Any] = {"engine": identity(engine), "seed": seed}
    facts["sampling"] = sampling_settings(benchmark, turn)
    facts["rendering"] = input_audit.rendering_facts(weights, turn)
    completions: list[Completion] = []
    with track(label, len(all_turns(benchmark, None))) as advance:
        while turn:
            completed = _answer_turn(weights, engine, benchmark, seed, turn, advance)
            completions += completed
            turn = benchmark.next_prompts(turn, [_to_answer(c) for c in completed])
    facts["tokens"] = sum(len(c.token_ids) for c in completions)
    write_atomically(out / FACTS_FILE, json.dumps(facts, indent=1, sort_keys=True))
    write_atomically(
        out / ANSWERS_FILE, json.dumps([asdict(_to_answer(c)) for c in completions], indent=1)
    )


def _answer_turn(
    policy: Policy,
    engine: GenerationEngine,
    benchmark: Benchmark,
    seed: int,
    prompts: Sequence[Prompt],
    advance: Advance,
) -> list[Completion]:
    """Answer one turn's prompts, those together that are sampled alike; return in their order."""
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        key = canonical_json(identity(benchmark.sampling_for(prompt)))
        groups.setdefault(key, []).append(prompt)
    by_prompt: dict[str, Completion] = {}
    for group in groups.values():
        requests = [Request(p, 1, derive(seed, "answer", p.id)) for p in group]
        sampling = benchmark.sampling_for(group[0])
        for completion in engine.generate(policy, requests, sampling, advance):
            by_prompt[completion.prompt_id] = completion
    return [by_prompt[prompt.id] for prompt in prompts]


def _to_answer(completion: Completion) -> Answer:
    return Answer(completion.prompt_id, completion.text, completion.finish_reason)
