"""A preference between two responses by the constraints that they keep: `oracle/verifiable`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.benchmarks.ifeval import data
from harness.benchmarks.ifeval.constraints import Checkers, ConstrainedPrompt, check_answer
from harness.core.config import Component
from harness.core.seeds import digest
from harness.core.terminal import shorten
from harness.errors import CheckError


class KeptConstraints(Component):
    """P(first ≻ second) = (1 + s(first) - s(second)) / 2, s the share of constraints that is kept.

    Equal shares are a tie, ½; a response that keeps everything beats one that keeps nothing surely.
    """

    questions: str
    """A file of prompts with their constraints, in IFEval's layout: those that are trained on."""
    checkers: Checkers
    rule: Literal["strict", "loose"] = "strict"
    """Whether the response is checked as it is, or without its first and last lines as well."""
    assets: Path | None = Field(None, exclude=True)

    def __call__(self, prompt: str, first: str, second: str) -> float:
        """Return P(first ≻ second), in [0, 1].

        Raises:
            CheckError: the file has no constraints for the prompt, or a kind cannot be checked.
            InputError: the file cannot be read, or a row does not fit.
            MissingDependencyError: what the checkers need is not installed.
        """
        question = self._question(prompt)
        return (1 + self._share(question, first) - self._share(question, second)) / 2

    def fingerprint(self) -> str:
        """Return what identifies the file's content, and the checkers' version."""
        content = data.questions_sha256(self.questions, self.assets)
        return digest([content, self.checkers.version()])

    def _question(self, prompt: str) -> ConstrainedPrompt:
        for question in data.load_questions(self.questions, self.assets):
            if question.text.strip() == prompt.strip():
                return question
        raise CheckError(
            f"{self.questions} has no constraints for the prompt {shorten(prompt)!r}: train on the "
            "prompts of that file, or name theirs with --set oracle.rule.questions=FILE"
        )

    def _share(self, question: ConstrainedPrompt, response: str) -> float:
        self.checkers.require({constraint.kind for constraint in question.constraints})
        outcome = check_answer(self.checkers, question, response)
        if outcome.unchecked:
            reason = self.checkers.unavailable(outcome.unchecked[0])
            raise CheckError(f"{outcome.unchecked[0]} cannot be checked: {reason}")
        verdicts = outcome.strict if self.rule == "strict" else outcome.loose
        return sum(verdicts) / len(verdicts)
