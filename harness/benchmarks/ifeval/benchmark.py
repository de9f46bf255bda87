"""Instruction following that a program verifies, without a judge: IFEval and IFBench.

IFEval after google-research (arXiv 2311.07911), IFBench after allenai (arXiv 2507.02833): one
class, since they differ in their prompts and their checkers only. A policy answers in its chat
template; lm-eval's task `ifeval`, which is in `academic`, answers without one by default, and has
results of its own. `checkers` and `constraints` say where the verdicts differ from upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.benchmarks.ifeval import data, files
from harness.benchmarks.ifeval.constraints import (
    THINKING_END,
    Checkers,
    ConstrainedPrompt,
    blank,
    check_answer,
)
from harness.benchmarks.ifeval.files import ContestantRows
from harness.benchmarks.ifeval.score import InstructionScoring, score_outcomes
from harness.core.config import Component
from harness.core.hub import assets_directory
from harness.core.io import text_sha256
from harness.errors import InputError
from harness.protocols import PolicySource, Sampling
from harness.types import (
    Advance,
    Answer,
    Answers,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    PublishedFigure,
    Reply,
    Score,
    Verdict,
)


class InstructionFollowing(Component):
    """Prompts with constraints, and the program that checks them."""

    name: str
    questions: str
    """`SET/FILE` of the protocol data, or a file of your own in the same layout."""
    checkers: Checkers
    sampling: Sampling
    scoring: InstructionScoring = InstructionScoring()
    assets: Path | None = Field(None, exclude=True)
    """The directory with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    default_judge: ClassVar[str] = ""
    baseline: ClassVar[PolicySource | None] = None

    def checker(self) -> str:
        """Return the program and its version, which take the judge's place in tables.

        Raises:
            MissingDependencyError: the program is not installed.
        """
        return self.checkers.version()

    def prompts(self) -> list[Prompt]:
        """Return the prompts.

        Raises:
            AssetError: the protocol data is missing, or is not the published one.
        """
        return [_prompt(question) for question in self._questions()]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: there is one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the same sampling for every prompt."""
        return self.sampling

    def baseline_answers(self) -> list[Answer]:
        """Return nothing: answers are checked without a baseline."""
        return []

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return one request per answer: the prompt and the answer that `check` reads."""
        texts = {question.id: question.text for question in self._questions()}
        return [
            JudgeRequest(
                a.prompt_id, (Message("user", texts[a.prompt_id]), Message("assistant", a.text)), {}
            )
            for a in answers
        ]

    def check(self, answers: Sequence[Answer], advance: Advance) -> list[Verdict]:
        """Check answers; return one verdict per answer, in order.

        Raises:
            MissingDependencyError: what the checkers need is not installed.
            CheckError: a constraint's arguments do not fit its checker.
        """
        by_id = {question.id: question for question in self._questions()}
        asked = [by_id[answer.prompt_id] for answer in answers]
        self.checkers.require({c.kind for question in asked for c in question.constraints})
        verdicts = []
        for question, answer in zip(asked, answers, strict=True):
            outcome = check_answer(self.checkers, question, answer.text)
            verdicts.append(files.outcome_verdict(question, outcome, self.checker()))
            advance(1)
        return verdicts

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return nothing: a program checks the answers, and no judge is asked."""
        return None

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Return nothing: no judge is asked."""
        return None

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Score contestants: prompt and instruction level, strict and loose, in percent.

        Raises:
            CheckError: a contestant has no verdict on a prompt of the benchmark.
            InputError: a verdict is not of this benchmark.
        """
        questions = self._questions()
        return [
            score_outcomes(
                questions,
                {v.request_id: files.verdict_outcome(v) for v in contestant.verdicts},
                self.scoring,
                (*contestant.notes, *_thinking_note(contestant.answers)),
            )
            for contestant in graded
        ]

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the prompts, and of the checkers' name and version."""
        checker = self.checker()
        return {
            self.questions: data.questions_sha256(self.questions, self._folder()),
            f"checkers {checker}": text_sha256(checker),
        }

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a file of answers.

        Raises:
            InputError: the file does not fit; it answers other prompts, or one prompt in two ways.
        """
        contestants = files.read_contestants(path, self._questions())
        for contestant in contestants:
            if contestant.foreign or contestant.conflicting:
                raise InputError(
                    f"{path}: {'; '.join(contestant.notes())}: remove those rows, or have "
                    f"`harness score {self.name}` leave them out"
                )
        order = [question.id for question in self._questions()]
        return [
            Answers(c.name, tuple(c.answers[key] for key in order if key in c.answers))
            for c in contestants
        ]

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read a file of verdicts, or check the answers of a file of answers.

        Raises:
            InputError: the file does not fit.
            MissingDependencyError: what the checkers need is not installed.
        """
        return [self._graded(c) for c in files.read_contestants(path, self._questions())]

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return `verdicts.jsonl`, and the answers and results as upstream writes them."""
        return files.files(graded, self._questions())

    def published(self) -> Iterator[PublishedFigure]:
        """Yield published figures beside those from the same answers."""
        yield from self.checkers.published(self._questions(), self._folder())

    def _folder(self) -> Path:
        return assets_directory(self.assets)

    def _questions(self) -> tuple[ConstrainedPrompt, ...]:
        return data.load_questions(self.questions, self._folder())

    def _graded(self, contestant: ContestantRows) -> Graded:
        answered = [q for q in self._questions() if q.id in contestant.answers]
        answers = tuple(contestant.answers[question.id] for question in answered)
        verdicts = {v.request_id: v for v in self.check(answers, lambda _: None)}
        judge = self.checker() if answers else files.STORED
        for question in self._questions():
            if question.id in contestant.outcomes:
                outcome = contestant.outcomes[question.id]
                verdicts.setdefault(question.id, files.outcome_verdict(question, outcome, judge))
        return Graded(
            label=contestant.name,
            judge=judge,
            answers=answers,
            baseline=(),
            verdicts=(*verdicts.values(), *self._failed(verdicts, judge)),
            prompts=tuple(map(_prompt, answered)),
            baseline_label="none",
            notes=contestant.notes(),
        )

    def _failed(self, verdicts: Mapping[str, Verdict], judge: str) -> list[Verdict]:
        """Return the verdicts on the prompts without an answer, if they count as failed."""
        missing = [q for q in self._questions() if q.id not in verdicts]
        failed = missing if self.scoring.missing == "failed" else []
        return [files.outcome_verdict(q, blank(q, answered=False), judge) for q in failed]


def _prompt(question: ConstrainedPrompt) -> Prompt:
    return Prompt(question.id, (Message("user", question.text),), data.META)


def _thinking_note(answers: Sequence[Answer]) -> tuple[str, ...]:
    count = sum(THINKING_END in answer.text for answer in answers)
    return (f"{count} answers hold thinking, which is not checked",) if count else ()
