"""IFBench's kinds `count` and `ratio`: how many of something, and shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.benchmarks.ifbench.language import (
    Verifier,
    bare,
    listed,
    sentences,
    stop_words,
    tokens,
    trim,
    words,
)

Arguments = Mapping[str, Any]
CONJUNCTIONS = frozenset(("and", "but", "for", "nor", "or", "so", "yet"))
NAMES = listed(
    "Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte "
    "Alexander Amelia Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen "
    "Abigail Gabriel Ella Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David "
    "Hannah Christopher Penelope Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan"
)
"""The names that the instruction lists."""
PRONOUNS = frozenset(
    listed(
        "i me we us you he him she her it they them my mine our ours your yours his hers its their "
        "theirs myself ourselves yourself yourselves himself herself itself themselves this that "
        "these those who whom whose which what whoever whomever whatever whichever anybody anyone "
        "anything everybody everyone everything nobody nothing somebody someone something each "
        "either neither both all some any none"
    )
)
MARKS = frozenset(".,!?;:")
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
KEYWORD_COUNTS = (1, 2, 3, 5, 7)
OVERLAP_TOLERANCE = 2


def word_count_range(text: str, arguments: Arguments) -> bool:
    """Between `min_words` and `max_words` words."""
    return bool(arguments["min_words"] <= len(words(text)) <= arguments["max_words"])


def unique_word_count(text: str, arguments: Arguments) -> bool:
    """At least `N` different words."""
    return bool(len({trim(word) for word in text.lower().split()}) >= arguments["N"])


def conjunctions(text: str, arguments: Arguments) -> bool:
    """At least `small_n` coordinating conjunctions, distinguished by their spelling."""
    written = {word for word in text.split() if trim(word).lower() in CONJUNCTIONS}
    return bool(len(written) >= arguments["small_n"])


def person_names(text: str, arguments: Arguments) -> bool:
    """At least `N` of the listed names."""
    return bool(sum(bool(re.search(rf"\b{name}\b", text)) for name in NAMES) >= arguments["N"])


def numbers(text: str, arguments: Arguments) -> bool:
    """Exactly `N` numbers; punctuation inside a number does not divide it."""
    return bool(len(re.findall(r"\d+", bare(text))) == arguments["N"])


def punctuation(text: str, arguments: Arguments) -> bool:
    """Every standard mark, and an interrobang besides."""
    if not any(mark in text for mark in ("!?", "?!", "‽")):
        return False
    rest = text.replace("?!", "", 1)
    rest = text.replace("!?", "", 1) if rest == text else rest
    return set(rest) >= MARKS


def words_japanese(text: str, arguments: Arguments) -> bool:
    """Every `N`th word in Japanese script, numbers aside."""
    every = [word for i, word in enumerate(text.split(), 1) if i % arguments["N"] == 0]
    asked = [trim(word) for word in every if trim(word) and not trim(word).isdigit()]
    return all(JAPANESE.search(word) for word in asked)


def pronouns(text: str, arguments: Arguments) -> bool:
    """At least `N` pronouns; she/her counts as two."""
    spread = text.replace("/", " ").lower()
    return bool(sum(token in PRONOUNS for token in tokens(spread)) >= arguments["N"])


def keywords_multiple(text: str, arguments: Arguments) -> bool:
    """Five keywords, as often as the instruction says."""
    keywords = [arguments[f"keyword{i}"].strip().lower() for i in range(1, 6)]
    counts = [text.lower().count(keyword) for keyword in keywords]
    return counts == list(KEYWORD_COUNTS)


def stop_word_share(text: str, arguments: Arguments) -> bool:
    """At most `percentage` % stop words."""
    every = words(text)
    stops = sum(word.lower() in stop_words() for word in every)
    return bool(every) and stops / len(every) * 100 <= arguments["percentage"]


def sentence_type(text: str, arguments: Arguments) -> bool:
    """Twice as many sentences that end in a full stop as in a question mark.

    The official rule, which an answer with neither follows.
    """
    statements, questions, _ = _ends(text)
    return statements == 2 * questions


def sentence_balance(text: str, arguments: Arguments) -> bool:
    """As many statements as questions and exclamations."""
    return len(set(_ends(text))) == 1


def overlap(text: str, arguments: Arguments) -> bool:
    """`percentage` % (± 2) of the text's trigrams of characters are in the reference."""
    own, reference = _trigrams(text), _trigrams(arguments["reference_text"])
    if not own:
        return False
    share = len(own & reference) / len(own) * 100
    return bool(abs(share - arguments["percentage"]) <= OVERLAP_TOLERANCE)


def sentence_words(text: str, arguments: Arguments) -> bool:
    """Three sentences of equal length; the official rule does not compare their words."""
    lengths = [len(sentence.strip()) for sentence in sentences(text)]
    return len(lengths) == 3 and len(set(lengths)) == 1


def _ends(text: str) -> tuple[int, int, int]:
    every = sentences(text)
    statements, questions, exclamations = (sum(s.endswith(m) for s in every) for m in ".?!")
    return statements, questions, exclamations


def _trigrams(text: str) -> set[tuple[str, str, str]]:
    return set(zip(text, text[1:], text[2:], strict=False))


VERIFIERS: dict[str, Verifier] = {
    "count:conjunctions": conjunctions,
    "count:keywords_multiple": keywords_multiple,
    "count:numbers": numbers,
    "count:person_names": person_names,
    "count:pronouns": pronouns,
    "count:punctuation": punctuation,
    "count:unique_word_count": unique_word_count,
    "count:word_count_range": word_count_range,
    "count:words_japanese": words_japanese,
    "ratio:overlap": overlap,
    "ratio:sentence_balance": sentence_balance,
    "ratio:sentence_type": sentence_type,
    "ratio:sentence_words": sentence_words,
    "ratio:stop_words": stop_word_share,
}
