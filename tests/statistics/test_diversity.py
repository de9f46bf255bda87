"""Diversity, by hand."""

from __future__ import annotations

import pytest

from harness.statistics.diversity import compression_ratio, distinct_ngrams


def test_distinct_bigrams_by_hand():
    # (a b), (b a), (a b): two of three; words are not joined across texts
    assert distinct_ngrams(["a b a b", "c"]) == pytest.approx(2 / 3)
    assert distinct_ngrams(["a b", "b a"], 1) == 0.5
    assert distinct_ngrams(["a", ""]) is None


def test_repeated_text_compresses_more():
    varied = compression_ratio(["the quick brown fox", "jumps over a lazy dog"])
    assert compression_ratio(["the quick brown fox"] * 20) > 5 * varied
    assert compression_ratio([]) is None
