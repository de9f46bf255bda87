"""How varied texts are: distinct n-grams, and how far a compressor shortens them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence


def distinct_ngrams(texts: Sequence[str], n: int = 2) -> float | None:
    """Return the share of n-grams of words that are distinct (Li et al., arXiv 1510.03055).

    It falls with the amount of text: compare equal numbers of answers of like length. None where no
    text has n words.
    """
    ngrams = [
        tuple(words[i : i + n])
        for words in (text.split() for text in texts)
        for i in range(len(words) - n + 1)
    ]
    return len(set(ngrams)) / len(ngrams) if ngrams else None


def compression_ratio(texts: Sequence[str]) -> float | None:
    """Return bytes before ÷ after zlib: larger where more repeats (Shaib et al., arXiv 2403.00553).

    None where there is no text.
    """
    data = "\n".join(texts).encode()
    return len(data) / len(zlib.compress(data, 9)) if data else None
