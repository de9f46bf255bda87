"""Comparisons, the judge's places and judges' agreement: numbers worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.types import ParsedVerdict, Verdict
from leaderboard.report.analysis import (
    disagreements,
    judge_agreement,
    mean_share,
    position_bias,
    wilson_share,
)
from leaderboard.report.comparisons import (
    ComparisonGame,
    PromptComparison,
    _first_answer,
    _game,
    outcome_label,
)
from leaderboard.report.content import build_content
from tests.leaderboard.report.conftest import DRAWN, FIRST, LOST, WON


def comparison(*games: tuple[str, float | None]) -> PromptComparison:
    """Games as (whose answer came first, what it wins)."""
    data = []
    for first_answer, first in games:
        ours = None if first is None else first if first_answer == "ours" else 1 - first
        data.append(ComparisonGame(first_answer, first, ours, "", "", "judge"))
    return PromptComparison("p", 0.5, None, tuple(data), "text", False)


def test_two_games_are_consistent_where_they_give_the_same_winner():
    assert not comparison(("baseline", 0.0), ("ours", 1.0)).is_inconsistent
    assert comparison(("baseline", 1.0), ("ours", 1.0)).is_inconsistent
    assert comparison(("baseline", 0.5), ("ours", 1.0)).is_inconsistent
    assert not comparison(("baseline", 0.5), ("ours", 0.5)).is_inconsistent
    half_read = comparison(("baseline", None), ("ours", 1.0))
    assert half_read.is_unparsed
    assert not half_read.is_swapped
    assert not half_read.is_inconsistent


def test_what_the_first_answer_wins_and_how_often_a_swap_changes_nothing():
    pairs = [
        comparison(("baseline", 1.0), ("ours", 1.0)),
        comparison(("baseline", 0.0), ("ours", 1.0)),
    ]
    data = position_bias(pairs)
    # the first answers win 1, 1, 0, 1 of four games; one pair of two has the same winner
    assert data["first"]["value"] == 75.0
    assert data["first"]["n"] == 4
    # Clopper and Pearson's 3 of 4 is 0.1941 to 0.9937; a normal one begins at 0.26
    assert data["first"]["low"] == pytest.approx(19.41, abs=0.01)
    assert data["first"]["high"] == 100.0
    assert data["consistent"]["value"] == 50.0
    assert position_bias([comparison()]) is None


def test_wilson_is_newcombes_example():
    # Newcombe, Statistics in Medicine 17 (1998), 857: 81 of 263 is 0.2553 to 0.3662
    data = wilson_share(81, 263)
    assert data["low"] == pytest.approx(25.53, abs=0.01)
    assert data["high"] == pytest.approx(36.62, abs=0.01)
    assert wilson_share(5, 5)["high"] == 100.0


def test_a_single_game_says_little():
    # Clopper and Pearson's 1 of 1 begins at 0.025
    assert mean_share([1.0]) == {"value": 100.0, "low": pytest.approx(2.5), "high": 100.0, "n": 1}


def test_the_order_of_a_drawn_game_is_read_off_the_preference():
    verdict = Verdict("p", None, "j")
    for value, preference, first in ((0.9, 0.9, "ours"), (0.9, 0.1, "baseline"), (0.5, 0.5, "")):
        assert _first_answer({"preference": preference}, verdict, value) == first
    parsed = replace(verdict, parsed=ParsedVerdict(0.9))
    assert _game({"preference": 0.1}, parsed).own_score == pytest.approx(0.1)
    rated = _game({"rating": 9.0}, replace(verdict, parsed=ParsedVerdict(9.0)))
    assert (rated.first_answer, rated.first_score, rated.own_score) == ("", None, 9.0)


def test_winners_are_named():
    assert [outcome_label(x) for x in (None, 0.5, 0.50001, 0.2)] == ["", "tie", "win", "loss"]


def test_kappa_is_agreement_beyond_chance():
    pairs = [("win", "win")] * 5 + [("win", "loss")] + [("loss", "loss")] * 4
    # observed 0.9; chance 0.6 * 0.5 + 0.4 * 0.5 = 0.5
    first, second = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    assert judge_agreement(first, second)["kappa"] == pytest.approx((0.9 - 0.5) / 0.5)
    always = dict.fromkeys("abc", "win")
    assert judge_agreement(always, always)["kappa"] is None
    assert disagreements({"a": "win", "b": "tie"}, {"a": "win", "b": "loss", "c": "win"}) == {"b"}


def test_flags_and_outcomes_come_from_real_results(play, workspace):
    play("one", [WON, LOST, DRAWN, FIRST, ("A>B", None), None], length=[1])
    content = build_content(workspace.root)
    (group,) = content.figures["groups"]
    data = content.texts[group["rows"][0]["texts"]]
    assert [entry["o"] for entry in data] == [1.0, 0.0, 0.5, 0.5, 0.0, 0.5]
    assert [entry["f"] for entry in data] == [
        [],
        ["truncated"],
        [],
        ["inconsistent"],
        ["unparsed"],
        [],
    ]
    assert data[0]["g"][0] == ["baseline", 1.0, "B>A", data[0]["g"][0][3], "judge-1"]
    assert data[5]["g"] == []
    # wins, ties, losses of the prompts: p4 has one game left, which is lost
    assert group["rows"][0]["outcomes"] == [1, 3, 2]
