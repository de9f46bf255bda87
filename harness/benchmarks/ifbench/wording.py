"""IFBench's kinds `words` and `sentence`: which words, and in which order."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.benchmarks.ifbench.language import (
    EDGES,
    Verifier,
    bare,
    first_tag,
    sentences,
    syllables,
    tokens,
    trim,
)

Arguments = Mapping[str, Any]
VOWELS = frozenset("aeiou")
CLUSTER = re.compile(r"[b-df-hj-np-tv-z]{2}")
"""Two consonants together."""
PRIMES = frozenset(n for n in range(2, 100) if all(n % d for d in range(2, n)))
PALINDROMES, PALINDROME_LENGTH = 10, 5
MAX_VOWELS = 3


def alphabet(text: str, arguments: Arguments) -> bool:
    """Each word begins with the next letter, from the first word's on."""
    initials = [word[0].lower() for word in bare(text).split()]
    if not initials or initials[0] not in string.ascii_lowercase:
        return False
    start = string.ascii_lowercase.index(initials[0])
    expected = [string.ascii_lowercase[(start + i) % 26] for i in range(len(initials))]
    return initials == expected


def vowel(text: str, arguments: Arguments) -> bool:
    """One paragraph with at most three of the vowels."""
    paragraph = text.strip()
    return "\n" not in paragraph and len(VOWELS & set(paragraph.lower())) <= MAX_VOWELS


def consonants(text: str, arguments: Arguments) -> bool:
    """Two consonants together in each word."""
    return all(CLUSTER.search(word) for word in text.lower().split())


def palindrome(text: str, arguments: Arguments) -> bool:
    """Ten words of five characters or more that read the same backwards."""
    every = bare(text).lower().split()
    return sum(len(w) >= PALINDROME_LENGTH and w == w[::-1] for w in every) >= PALINDROMES


def prime_lengths(text: str, arguments: Arguments) -> bool:
    """Words whose length is prime."""
    return all(len(word) in PRIMES for word in bare(text).split())


def start_verb(text: str, arguments: Arguments) -> bool:
    """The first word is a verb, by nltk's tagger."""
    return "VB" in first_tag(text)


def repeats(text: str, arguments: Arguments) -> bool:
    """No word more than `small_n` times."""
    counts = Counter(bare(text.lower()).split())
    return all(count <= arguments["small_n"] for count in counts.values())


def odd_even_syllables(text: str, arguments: Arguments) -> bool:
    """Words with odd and even numbers of syllables by turns."""
    parities = [syllables(word) % 2 for word in bare(text).lower().split()]
    return all(first != second for first, second in pairwise(parities))


def last_first(text: str, arguments: Arguments) -> bool:
    """A sentence's last word is the next one's first."""
    for first, second in pairwise(sentences(text)):
        end, start = first.rstrip(EDGES).split(), second.lstrip(EDGES).split()
        if not end or not start or end[-1].lower() != start[0].lower():
            return False
    return True


def paragraph_last_first(text: str, arguments: Arguments) -> bool:
    """Each line ends with the word that it begins with."""
    lines = [trim(line.strip().lower()).split() for line in text.split("\n")]
    return all(line[0] == line[-1] for line in lines if line)


def no_consecutive(text: str, arguments: Arguments) -> bool:
    """No two neighbouring words begin alike."""
    return all(a[0] != b[0] for a, b in pairwise(bare(text.lower()).split()))


def keywords_specific_position(text: str, arguments: Arguments) -> bool:
    """`keyword` is the `m`th word of the `n`th sentence."""
    every, n, m = sentences(text), int(arguments["n"]), int(arguments["m"])
    if len(every) < n:
        return False
    words = [token for token in tokens(every[n - 1]) if any(c.isalnum() for c in token)]
    return len(words) >= m and words[m - 1].lower() == arguments["keyword"].strip().lower()


def words_position(text: str, arguments: Arguments) -> bool:
    """`keyword` is the second word and the last but one; one mark at the end is no word."""
    every = [token.lower() for token in tokens(text)]
    keyword = arguments["keyword"].strip().lower()
    if len(every) >= 2 and every[-1] in string.punctuation:
        return len(every) >= 3 and every[1] == every[-3] == keyword
    return len(every) >= 2 and every[1] == every[-2] == keyword


def alliteration_increment(text: str, arguments: Arguments) -> bool:
    """Each sentence has more alliterating words than the one before."""
    previous = -1
    for sentence in sentences(text):
        count = _alliterating([word.lstrip(EDGES) for word in sentence.lower().split()])
        if count <= previous:
            return False
        previous = count
    return True


def keyword_sentence(text: str, arguments: Arguments) -> bool:
    """`word` is in the `N`th sentence."""
    every, number = sentences(text), int(arguments["N"])
    pattern = rf"\b{re.escape(arguments['word'])}\b"
    return len(every) >= number and bool(re.search(pattern, every[number - 1], re.IGNORECASE))


def increment(text: str, arguments: Arguments) -> bool:
    """Each sentence has `small_n` words more than the one before."""
    counts = [len(bare(sentence).split()) for sentence in sentences(text)]
    return all(second == first + arguments["small_n"] for first, second in pairwise(counts))


def _alliterating(every: Sequence[str]) -> int:
    """Count the words in runs with one first letter; a run's length, summed over runs."""
    alike = [a[0] == b[0] for a, b in pairwise([word for word in every if word])]
    starts = sum(now and not before for before, now in pairwise([False, *alike]))
    return sum(alike) + starts


VERIFIERS: dict[str, Verifier] = {
    "sentence:alliteration_increment": alliteration_increment,
    "sentence:increment": increment,
    "sentence:keyword": keyword_sentence,
    "words:alphabet": alphabet,
    "words:consonants": consonants,
    "words:keywords_specific_position": keywords_specific_position,
    "words:last_first": last_first,
    "words:no_consecutive": no_consecutive,
    "words:odd_even_syllables": odd_even_syllables,
    "words:palindrome": palindrome,
    "words:paragraph_last_first": paragraph_last_first,
    "words:prime_lengths": prime_lengths,
    "words:repeats": repeats,
    "words:start_verb": start_verb,
    "words:vowel": vowel,
    "words:words_position": words_position,
}
