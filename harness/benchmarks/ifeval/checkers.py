"""IFEval's checkers, as lm-eval ships them (google-research's code, Apache-2.0).

What differs from lm-eval: language detection is seeded, so that an answer always gets the same
verdict; a letter constraint on a character that is no letter counts that character (two of 541
prompts ask for `#` and `!`; upstream draws a random letter instead, anew at each check); and only
arguments that are null are dropped, not those that are 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.benchmarks.ifeval import language_data, published
from harness.benchmarks.ifeval.constraints import ConstrainedPrompt, Constraint
from harness.core.config import Component
from harness.core.extras import missing_extra
from harness.errors import CheckError, first_line
from harness.types import PublishedFigure

LETTERS = "keywords:letter_frequency"
SENTENCE_KINDS = frozenset(
    {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
)
"""The kinds that need nltk's sentence data."""
AT_LEAST, LESS_THAN = "at least", "less than"
"""The relations of a constraint that counts."""


class LmEvalCheckers(Component):
    """The 25 kinds of IFEval."""

    def version(self) -> str:
        """Return lm-eval's version.

        Raises:
            MissingDependencyError: lm-eval is not installed.
        """
        _registry()
        return f"lm-eval {version('lm_eval')}"

    def require(self, kinds: Iterable[str]) -> None:
        """Refuse to go on without lm-eval, or without the sentence data where a kind needs it.

        Raises:
            MissingDependencyError: one of them is missing.
        """
        _registry()
        if SENTENCE_KINDS & set(kinds):
            language_data.require_data(language_data.SENTENCES)

    def unavailable(self, kind: str) -> str | None:
        """Return why constraints of a kind cannot be checked; None: they can."""
        return None if kind in _registry() else f"{self.version()} does not know it"

    def keeps(self, constraint: Constraint, prompt: str, text: str) -> bool:
        """Return whether a text keeps a constraint.

        Raises:
            CheckError: the arguments do not fit the checker.
        """
        if _asks_for_no_letter(constraint):
            return _keeps_character(constraint.arguments, text)
        try:
            with language_data.seeded():
                checker = _build(constraint, prompt)
                return bool(checker.check_following(text))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise CheckError(
                f"{constraint.kind} cannot be checked with {dict(constraint.arguments)} "
                f"({first_line(error)}): compare the data file with {self.version()}'s own"
            ) from error

    def published(
        self, questions: Sequence[ConstrainedPrompt], folder: Path
    ) -> Iterator[PublishedFigure]:
        """Yield the paper's figures for GPT-4 beside those from its stored answers."""
        return published.figures(self, questions, folder)


def _build(constraint: Constraint, prompt: str) -> Any:
    checker = _registry()[constraint.kind](constraint.kind)
    checker.build_description(**constraint.arguments)
    arguments = checker.get_instruction_args()
    if arguments and "prompt" in arguments:
        checker.build_description(prompt=prompt)
    return checker


def _asks_for_no_letter(constraint: Constraint) -> bool:
    letter = constraint.arguments.get("letter")
    if constraint.kind != LETTERS or not isinstance(letter, str) or len(letter) != 1:
        return False
    return not "a" <= letter.lower() <= "z"


def _keeps_character(arguments: Mapping[str, Any], text: str) -> bool:
    count = text.lower().count(arguments["letter"].lower())
    frequency = arguments["let_frequency"]
    return bool(count < frequency if arguments["let_relation"] == LESS_THAN else count >= frequency)


@lru_cache(maxsize=1)
def _registry() -> Mapping[str, Any]:
    try:
        with language_data.without_download():
            from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error
    registry: Mapping[str, Any] = INSTRUCTION_DICT
    return registry
