"""IFBench's 58 verifiers: those of the package `ifbench` where it is installed, else our own.

Our own follow the official ones of 19 August 2026 (allenai/IFBench at db69a6f), defects included:
an answer without a question passes `ratio:sentence_type`, and `format:line_indent` depends on the
number of blank lines. The official ones have changed since July 2025, so a figure names its
version. What differs: nothing is drawn at random, and a text on which an official verifier fails
with an error does not follow the instruction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.benchmarks.ifbench import counts, layout, published, single, wording
from harness.benchmarks.ifeval import language_data
from harness.benchmarks.ifeval.constraints import ConstrainedPrompt, Constraint
from harness.core.config import Component
from harness.errors import CheckError, first_line
from harness.types import PublishedFigure

OWN_VERSION = "IFBench verifiers 2026-08"
VERIFIERS = counts.VERIFIERS | layout.VERIFIERS | single.VERIFIERS | wording.VERIFIERS
SENTENCE_KINDS = frozenset(
    f"{group}:{name}"
    for group, names in {
        "count": "pronouns",
        "custom": "sentence_alphabet word_reverse",
        "format": "emoji no_bullets_bullets title_case",
        "ratio": "sentence_balance sentence_type sentence_words",
        "sentence": "alliteration_increment increment keyword",
        "words": "keywords_specific_position last_first start_verb words_position",
    }.items()
    for name in names.split()
)
"""The kinds that need nltk's sentence data."""
STOP_WORD_KIND, VERB_KIND = "ratio:stop_words", "words:start_verb"
PACKAGES = {"format:emoji": "emoji", "words:odd_even_syllables": "syllapy"}
"""The package that a kind needs besides nltk."""


class IFBenchCheckers(Component):
    """The 58 kinds of IFBench."""

    def version(self) -> str:
        """Return the package's version, or the official date that the harness's own follow."""
        if _official() is None:
            return OWN_VERSION
        try:
            return f"ifbench {version('ifbench')}"
        except PackageNotFoundError:
            return "ifbench, version unknown"

    def require(self, kinds: Iterable[str]) -> None:
        """Refuse to go on without nltk, or without its data where a kind needs it.

        Raises:
            MissingDependencyError: one of them is missing.
        """
        asked = set(kinds)
        if SENTENCE_KINDS & asked:
            language_data.require_data(language_data.SENTENCES)
        if STOP_WORD_KIND in asked:
            language_data.require_data(language_data.STOP_WORDS)

    def unavailable(self, kind: str) -> str | None:
        """Return why constraints of a kind cannot be checked here; None: they can."""
        if kind not in VERIFIERS:
            return f"{self.version()} does not know it"
        return _missing(kind)

    def keeps(self, constraint: Constraint, prompt: str, text: str) -> bool:
        """Return whether a text follows an instruction.

        Raises:
            CheckError: the arguments do not fit the verifier.
        """
        try:
            if registry := _official():
                return _official_verdict(registry, constraint, text)
            return VERIFIERS[constraint.kind](text, constraint.arguments)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckError(
                f"{constraint.kind} cannot be checked with {dict(constraint.arguments)} "
                f"({first_line(error)}): compare the data file with IFBench's own"
            ) from error

    def published(
        self, questions: Sequence[ConstrainedPrompt], folder: Path
    ) -> Iterator[PublishedFigure]:
        """Yield the stored run's figures, and how many of its verdicts are given again."""
        return published.figures(self, questions, folder)


@lru_cache(maxsize=64)
def _missing(kind: str) -> str | None:
    if kind == VERB_KIND and not language_data.has_data(language_data.TAGGER):
        return language_data.missing_data(language_data.TAGGER)
    package = PACKAGES.get(kind)
    if package and find_spec(package) is None:
        return f"needs {package}: pip install 'preference-harness[ifbench]'"
    return None


@lru_cache(maxsize=1)
def _official() -> Mapping[str, Any] | None:
    """Return the package's verifiers by kind; None if it is not installed."""
    if find_spec("ifbench") is None:
        return None
    with language_data.without_download():
        from ifbench.instructions_registry import INSTRUCTION_DICT
    registry: Mapping[str, Any] = INSTRUCTION_DICT
    return registry


def _official_verdict(registry: Mapping[str, Any], constraint: Constraint, text: str) -> bool:
    verifier = registry[constraint.kind](constraint.kind)
    with language_data.seeded():
        verifier.build_description(**constraint.arguments)
        try:
            return bool(verifier.check_following(text))
        except (IndexError, ZeroDivisionError):
            return False
