"""Which of a prompt's constraints an answer keeps, strictly and loosely (arXiv 2311.07911).

Strict: the answer as it is. Loose: a constraint holds if any of eight texts keeps it: the answer
without its first line, without its last, without both, each of these also without asterisks. A
blank text keeps nothing. What differs: a reasoning model's thinking is removed first, as lighteval
and IFBench do and lm-eval does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.types import PublishedFigure

THINKING_START, THINKING_END = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Constraint:
    """One verifiable instruction: what a checker is asked."""

    kind: str
    """The name of the instruction, e.g. `keywords:existence`."""
    arguments: Mapping[str, Any]
    """By the checker's own names, without those that are null."""


@dataclass(frozen=True, slots=True)
class ConstrainedPrompt:
    """A prompt with its constraints."""

    id: str
    text: str
    constraints: tuple[Constraint, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which constraints of a question an answer keeps, in the question's order."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    unchecked: tuple[str, ...] = ()
    """The kinds that could not be checked; they count as not kept."""
    answered: bool = True
    """False for a question without an answer; all of its constraints count as not kept."""

    @property
    def share(self) -> float:
        """The share of constraints that are kept strictly, in [0, 1]."""
        return sum(self.strict) / len(self.strict)


@runtime_checkable
class Checkers(Protocol):
    """The checkers of one set of constraints."""

    def version(self) -> str:
        """Return the program and its version; figures of two versions share no column.

        Raises:
            MissingDependencyError: the program is not installed.
        """

    def require(self, kinds: Iterable[str]) -> None:
        """Refuse to check these kinds where something that most of them need is missing.

        Raises:
            MissingDependencyError: a package, or the sentence data, is not installed.
        """

    def unavailable(self, kind: str) -> str | None:
        """Return why constraints of a kind cannot be checked here; None: they can."""

    def keeps(self, constraint: Constraint, prompt: str, text: str) -> bool:
        """Return whether a text that is not blank keeps a constraint of its prompt."""

    def published(
        self, questions: Sequence[ConstrainedPrompt], folder: Path
    ) -> Iterable[PublishedFigure]:
        """Yield the figures of published runs beside those that these checkers give.

        `folder` is the directory with the protocol data.

        Raises:
            AssetError: a published run is missing.
        """


def blank(question: ConstrainedPrompt, *, answered: bool = True) -> Outcome:
    """Return the outcome of a blank answer, or of none."""
    nothing = (False,) * len(question.constraints)
    return Outcome(nothing, nothing, answered=answered)


def check_answer(checkers: Checkers, question: ConstrainedPrompt, answer: str) -> Outcome:
    """Check an answer against every constraint of its question.

    Raises:
        CheckError: a constraint's arguments do not fit its checker.
    """
    text = without_thinking(answer)
    if not text.strip():
        return blank(question)
    strict, loose, unchecked = [], [], []
    variants = loose_variants(text)
    for constraint in question.constraints:
        if checkers.unavailable(constraint.kind):
            unchecked.append(constraint.kind)
            strictly = loosely = False
        else:
            strictly = checkers.keeps(constraint, question.text, text)
            loosely = strictly or any(
                checkers.keeps(constraint, question.text, v) for v in variants
            )
        strict.append(strictly)
        loose.append(loosely)
    return Outcome(tuple(strict), tuple(loose), tuple(unchecked))


def loose_variants(text: str) -> list[str]:
    """Return the other seven texts of the loose rule, without repetitions and blank ones."""
    lines = text.split("\n")
    parts = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    variants = [text, *parts]
    variants += [variant.replace("*", "") for variant in variants]
    return [v for v in dict.fromkeys(variants) if v.strip() and v != text]


def without_thinking(text: str) -> str:
    """Return what follows the thinking; thinking that never ends is an empty answer."""
    if THINKING_END in text:
        return text.rpartition(THINKING_END)[2].lstrip()
    return "" if text.lstrip().startswith(THINKING_START) else text
