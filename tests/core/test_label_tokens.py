"""Labels among the likeliest tokens: alike spellings are summed, and the impossible is not read."""

import math

import pytest

from harness.core.label_tokens import read_labels


def tops(**probabilities):
    return [(token, math.log(p)) for token, p in probabilities.items()]


def test_tokens_that_spell_alike_are_summed():
    top = [*tops(m=0.9, M=0.05), ("m", math.log(0.001)), ("The", -5.0)]
    read = read_labels(top, ("m", "M"))
    assert read.share("m") == pytest.approx(0.901 / 0.951)
    assert read.mass == pytest.approx(0.951)
    assert read.spelled


def test_the_least_likely_spelling_does_not_win():
    """vLLM decodes `▁m` and `m` to one text; the later one is the unlikelier."""
    top = [("m", -0.1), ("M", -3.0), ("m", -7.0)]
    assert read_labels(top, ("m", "M")).share("m") == pytest.approx(0.948, abs=5e-4)


def test_a_negligible_spelling_with_a_blank_breaks_no_tie():
    """Of gemma-7b-it's published verdicts; alpaca_eval reads a draw."""
    top = [("M", -0.69314843), ("m", -0.69314843), ("The", -14.7), (" M", -15.8)]
    assert read_labels(top, ("m", "M")).share("m") == 0.5


def test_a_spelling_with_a_blank_is_added_where_it_holds_something():
    read = read_labels(tops(**{"m": 0.4, " m": 0.3, "M": 0.25}), ("m", "M"))
    assert read.share("m") == pytest.approx(0.7 / 0.95)


@pytest.mark.parametrize("token", [" m", "▁m", "Ġm", "m ", "\nm", "▁▁m"])
def test_a_blank_before_a_label_does_not_change_it(token):
    read = read_labels([(token, math.log(0.6)), ("M", math.log(0.2))], ("m", "M"))
    assert read.share("m") == pytest.approx(0.75)


def test_only_a_label_itself_is_spelled_as_the_protocol_does():
    assert not read_labels([(" m", -0.1), (" M", -2.4)], ("m", "M")).spelled
    assert read_labels([("▁m", -0.1), ("▁M", -2.4)], ("m", "M")).spelled


def test_the_same_token_twice_counts_once():
    read = read_labels([("m", -0.7), ("m", -0.7), ("M", -0.7)], ("m", "M"))
    assert read.share("m") == 0.5


@pytest.mark.parametrize(
    "top",
    [
        [],
        [("x", -0.1), ("mm", -1.0)],
        [("m", math.nan), ("M", -0.1)],
        [("m", -0.1), (" m", math.nan)],
        [("m", 0.2), ("M", -0.1)],
        [("x", math.inf), ("m", -0.1)],
        [("m", -math.inf), ("M", -math.inf)],
    ],
)
def test_what_cannot_be_read_is_not(top):
    assert read_labels(top, ("m", "M")) is None


def test_another_token_of_unknown_probability_does_not_matter():
    assert read_labels([("x", math.nan), ("m", -0.1)], ("m", "M")).share("m") == 1.0
