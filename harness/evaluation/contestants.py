"""Who is graded against whom: answers from a file or from a policy, and the baseline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, InputError
from harness.evaluation.answering import answer_stage, conversation, read_facts, read_stage
from harness.evaluation.hours import Hours, spent
from harness.protocols import Benchmark, GenerationEngine, PolicySource
from harness.reading import shown
from harness.runs import Stage, Workspace
from harness.types import Answer, Answers, Prompt


@dataclass(frozen=True)
class Contest:
    """What is graded: the answers of both sides, to the prompts that we answer."""

    ours: Answers
    theirs: Answers
    prompts: tuple[Prompt, ...]
    """Of every turn, those without an answer left out."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How our answers were made; empty where a file was handed in."""
    hours: Mapping[str, Hours] | None = None
    """How long machines have worked for our answers; None where that is not known."""


@dataclass(frozen=True)
class Entry:
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
        policies = (self.answering(), self._baseline())
        return [self._stage(policy) for policy in policies if policy is not None]

    def contest(self, workspace: Workspace) -> Contest:
        """Return both sides' answers, making what does not stand.

        Raises:
            ConfigError: nothing says who answers, or with which engine.
            InputError: the answers file does not fit.
        """
        facts: Mapping[str, Any] = {}
        hours = None
        if policy := self.answering():
            path = self._answered(policy, workspace)
            ours, facts = Answers(policy.name, read_stage(path)), read_facts(path)
            hours = spent(Path(path))
        else:
            ours = self._read()
        if policy := self._baseline():
            theirs = Answers(policy.name, read_stage(self._answered(policy, workspace)))
        else:
            theirs = self._published()
        prompts = conversation(self.benchmark, ours.answers)
        answered = {answer.prompt_id for answer in ours.answers}
        kept = tuple(answer for answer in theirs.answers if answer.prompt_id in answered)
        asked = tuple(prompt for prompt in prompts if prompt.id in answered)
        return Contest(ours, replace(theirs, answers=kept), asked, facts, hours)

    def answering(self) -> PolicySource | None:
        """Return the policy that has to answer, or None where a file does."""
        if (self.answers is None) == (self.policy is None):
            raise ConfigError("say who answers: an answers file or a policy, one of them")
        return self.policy

    def _baseline(self) -> PolicySource | None:
        """Return the policy that answers as the baseline; None where answers are published."""
        if self.benchmark.baseline_answers() is not None:
            return None
        if self.benchmark.baseline is None:
            raise ConfigError(f"{self.benchmark.name} has no baseline: set baseline={{...}}")
        return self.benchmark.baseline

    def _published(self) -> Answers:
        name = self.benchmark.prompts()[0].meta.get("baseline", "baseline")
        return Answers(name, tuple(self.benchmark.baseline_answers() or ()))

    def _stage(self, policy: PolicySource) -> Stage:
        if self.engine is None:
            raise ConfigError(f"{policy.name} has to answer: name an engine with --engine")
        return answer_stage(policy, self.benchmark, self.engine, self.seed)

    def _answered(self, policy: PolicySource, workspace: Workspace) -> str:
        return workspace.stages.realise(self._stage(policy)).path

    def _read(self) -> Answers:
        assert self.answers is not None
        ours = chosen(self.answers, self.benchmark.read_answers(self.answers), self.label)
        prompts = conversation(self.benchmark, None)
        missing = absent(prompts, ours.answers)
        if missing and not (self.allow_missing and ours.answers):
            raise InputError(
                f"{self.answers}: {len(missing)} of {len(prompts)} prompts have no answer, e.g. "
                f"{shown(missing[0].text or missing[0].id)!r}: answer them too, or leave them out "
                "with --allow-missing"
            )
        return replace(ours, missing=len(missing))


def absent(prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
    """Return the prompts without an answer."""
    said = {answer.prompt_id for answer in answers}
    return [prompt for prompt in prompts if prompt.id not in said]


def chosen(path: Path, found: Sequence[Answers], label: str | None) -> Answers:
    """Return the one contestant of a file, or the one that the label names."""
    if len(found) == 1:
        return found[0]
    names = [answers.name for answers in found]
    if label in names:
        return found[names.index(label)]
    raise InputError(
        f"{path} holds {len(found)} contestants ({', '.join(names[:6])}): name one with --label"
    )
