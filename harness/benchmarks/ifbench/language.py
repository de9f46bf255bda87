"""Words, sentences, syllables and emoji, as IFBench's verifiers count them."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from harness.benchmarks.ifeval.language_data import import_nltk
from harness.core.extras import missing_extra

Verifier = Callable[[str, Mapping[str, Any]], bool]
"""Says whether a text that is not blank follows an instruction with these arguments."""
EDGES = string.punctuation + " "
_BARE = str.maketrans("", "", string.punctuation)


def listed(text: str) -> tuple[str, ...]:
    """Return the words of a text between its spaces."""
    return tuple(text.split())


def bare(text: str) -> str:
    """Return a text without ASCII punctuation."""
    return text.translate(_BARE)


def trim(text: str) -> str:
    """Return a text without punctuation and spaces at its ends."""
    return text.strip(EDGES)


def words(text: str) -> list[str]:
    """Return the runs of letters, digits and underscores."""
    return re.findall(r"\w+", text)


def tokens(text: str) -> list[str]:
    """Return nltk's word tokens; they include punctuation."""
    return list(import_nltk().word_tokenize(text))


def sentences(text: str) -> list[str]:
    """Return nltk's sentences."""
    return list(import_nltk().sent_tokenize(text))


def first_tag(text: str) -> str:
    """Return the part of speech of the first token; empty without one."""
    nltk = import_nltk()
    tagged = nltk.pos_tag(nltk.word_tokenize(text))
    return str(tagged[0][1]) if tagged else ""


@lru_cache(maxsize=1)
def stop_words() -> frozenset[str]:
    """Return nltk's English stop words."""
    from nltk.corpus import stopwords

    import_nltk()
    return frozenset(stopwords.words("english"))


def syllables(word: str) -> int:
    """Return the number of syllables by syllapy's dictionary and rule.

    Raises:
        MissingDependencyError: syllapy is not installed.
    """
    try:
        import syllapy
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error
    return int(syllapy.count(word))


def is_emoji(character: str) -> bool:
    """Return whether a character is an emoji on its own.

    Raises:
        MissingDependencyError: the package emoji is not installed.
    """
    try:
        import emoji
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error
    return bool(emoji.is_emoji(character))
