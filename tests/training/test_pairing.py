"""The tournament's bracket, its ties, and that pairs are a function of the kept comparisons."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from pydantic import ValidationError

from harness.core.iterations import replay
from harness.training.pairing import (
    AcrossSamplers,
    AllPairs,
    BestWorst,
    ComparisonRounds,
    MaxRandom,
    Tournament,
    compares_all,
    comparison_count,
    index_by_position,
    is_complete,
    win_rate,
)
from harness.types import Completion, Message, Prompt

TOURNAMENT = Tournament()
COMPLETE = [BestWorst(), MaxRandom(), AllPairs()]


def play(
    k: int, wins, pairing=TOURNAMENT
) -> tuple[list[tuple[int, int]], dict[tuple[int, int], float]]:
    """Run a pairing against `wins(i, j)`; return its pairs and what it asked."""
    rounds, matrix = pairing.rounds(k), {}
    try:
        matches = next(rounds)
        while True:
            matrix |= {match: wins(*match) for match in matches}
            matches = rounds.send(matrix)
    except StopIteration as end:
        return end.value, matrix


def test_eight_responses_take_eleven_comparisons():
    pairs, asked = play(8, lambda i, j: float(i < j))
    assert len(asked) == 11
    # neighbours: 0, 2, 4, 6 win; 0-2 and 4-6: 0, 4; 0-4: 0. Losers 1, 3, 5, 7; 3, 7; 7.
    assert pairs == [(0, 7)]


@pytest.mark.parametrize("k", range(2, 12))
def test_with_a_ranking_the_best_meets_the_worst(k):
    strength = random.Random(k).sample(range(k), k)
    pairs, _ = play(k, lambda i, j: 0.9 if strength[i] > strength[j] else 0.1)
    assert pairs == [(strength.index(k - 1), strength.index(0))]


def test_responses_of_two_samplers_meet_in_their_order():
    # the first of one meets the first of the other, the preferred one comes first
    pairs, asked = play(4, lambda i, j: float((i, j) == (0, 2)), AcrossSamplers())
    assert set(asked) == {(0, 2), (1, 3)}
    assert pairs == [(0, 2), (3, 1)]
    # a response that was cut off leaves its partner to the next one
    samplers = ["policy", "reference", "reference", "previous-2"]
    matches = next(AcrossSamplers().rounds_between(samplers))
    assert matches == [(0, 1), (0, 3)]
    for lone in (["policy", "policy"], []):
        assert replay(AcrossSamplers().rounds_between(lone), {}) == []
    assert comparison_count(AcrossSamplers(), 2) == 1


def test_a_tie_counts_for_the_first():
    # all ties: 0 beats everybody, 7 loses to everybody; the final is a tie, so no pair is kept
    pairs, asked = play(8, lambda i, j: 0.5)
    assert (0, 7) in asked
    assert pairs == []


def test_a_cycle_that_turns_the_final_around_is_dropped():
    # of 4: 0 beats 1, 2 beats 3; 0 beats 2, 1 beats 3, but 3 beats 0
    wins = {(0, 1): 1.0, (2, 3): 1.0, (0, 2): 1.0, (1, 3): 1.0, (0, 3): 0.0}
    assert play(4, lambda i, j: wins[i, j])[0] == []


def test_a_single_response_makes_no_pair():
    assert replay(Tournament().rounds(1), {}) == []


def completions(texts: list[str]) -> list[Completion]:
    return [Completion("p", i, t, (1,), (2, i), "stop", 0) for i, t in enumerate(texts)]


def test_replaying_the_kept_comparisons_gives_the_same_pairs():
    rng = random.Random(0)
    prompts = {key: Prompt(key, (Message("user", key),)) for key in "abc"}
    texts = {key: completions([f"{key}{i}" for i in range(8)]) for key in prompts}
    table = ComparisonRounds(Tournament(), prompts, texts)
    asked = 0
    while table.pending:
        questions = table.next_comparisons()
        asked += len(questions)
        table.record_answers([rng.random() for _ in questions])
    assert asked == 33
    for key, matrix in table.matrices.items():
        again = replay(Tournament().rounds(8), matrix)
        assert again == replay(Tournament().rounds(8), dict(sorted(matrix.items())))
        assert all(matrix[pair] > 0.5 for pair in again)


def test_identical_responses_are_a_tie_that_nobody_is_asked_about():
    prompts = {"p": Prompt("p", (Message("user", "p"),))}
    table = ComparisonRounds(Tournament(), prompts, {"p": completions(["same"] * 8)})
    while table.pending:
        assert table.next_comparisons() == []
        table.record_answers([])
    assert set(table.matrices["p"].values()) == {0.5}
    assert replay(Tournament().rounds(8), table.matrices["p"]) == []


def test_every_match_is_between_two_players():
    for k in range(2, 20):
        _, asked = play(k, lambda i, j: float((i * 7 + j) % 3 > 0))
        assert all(i != j and {i, j} <= set(range(k)) for i, j in asked)
        assert len(asked) == len({frozenset(m) for m in asked}) or k < 4
        assert all(a != b for a, b in itertools.pairwise(asked))


@pytest.mark.parametrize("k", range(2, 12))
def test_what_a_tournament_asks(k):
    # at k = 8: 4 + 2 * (2 + 1) + 1 = 11; at 2 the first match is the final
    _, asked = play(k, lambda i, j: float(i < j))
    assert comparison_count(Tournament(), k) == len(asked)
    assert {2: 1, 4: 5, 8: 11}.get(k, len(asked)) == len(asked)


@pytest.mark.parametrize("pairing", COMPLETE, ids=repr)
def test_comparing_all_takes_a_triangle(pairing):
    assert [comparison_count(pairing, k) for k in (2, 5, 8)] == [1, 10, 28]
    assert all(compares_all(pairing, k) for k in range(2, 9))
    assert compares_all(Tournament(), 2)
    assert not compares_all(Tournament(), 3)
    assert replay(pairing.rounds(1), {}) == replay(pairing.rounds(0), {}) == []


CYCLE = {(0, 1): 0.9, (1, 2): 0.8, (0, 2): 0.3}
"""Win rates (0.5 + 0.9 + 0.3, 0.5 + 0.1 + 0.8, 0.5 + 0.7 + 0.2) / 3 = 0.5667, 0.4667, 0.4667."""


def test_win_rates_count_the_response_itself_as_a_half():
    rates = [win_rate(i, 3, CYCLE) for i in range(3)]
    assert rates == pytest.approx([1.7 / 3, 1.4 / 3, 1.4 / 3])
    assert sum(rates) == pytest.approx(1.5)


def test_the_best_meets_the_worst_by_win_rate_and_equals_go_to_the_first():
    assert replay(BestWorst().rounds(3), CYCLE) == [(0, 1)]
    # P(0 ≻ 1) = 0.9 is more than ½ by 0.4
    assert replay(BestWorst(margin=0.39).rounds(3), CYCLE) == [(0, 1)]
    assert replay(BestWorst(margin=0.41).rounds(3), CYCLE) == []


def test_best_and_worst_that_prefer_otherwise_are_no_pair():
    # rates: 0: 0.5 + 0.4 + 1 + 1, 1: 0.6 + 0.5 + 0 + 0, 2 and 3: 0 + 1 + 0.5 + 0.5; 1 beats 0
    wins = {(0, 1): 0.4, (0, 2): 1.0, (0, 3): 1.0, (1, 2): 0.0, (1, 3): 0.0, (2, 3): 0.5}
    assert replay(BestWorst().rounds(4), wins) == []


def test_the_best_meets_the_one_that_was_drawn_after_it():
    # rates 0.2 + 0.1, 0.8 + 0.9, ...: the best is the last, and the first is drawn after it
    wins = {(0, 1): 0.6, (0, 2): 0.2, (1, 2): 0.1}
    assert replay(MaxRandom().rounds(3), wins) == [(2, 0)]


def test_all_pairs_are_turned_to_the_preferred_one_and_ties_are_dropped():
    wins = {(0, 1): 0.9, (0, 2): 0.5, (1, 2): 0.3}
    assert replay(AllPairs().rounds(3), wins) == [(0, 1), (2, 1)]
    assert replay(AllPairs(margin=0.3).rounds(3), wins) == [(0, 1)]


@pytest.mark.parametrize("pairing", [*COMPLETE, Tournament()], ids=repr)
def test_ties_are_never_paired(pairing):
    assert play(6, lambda i, j: 0.5, pairing)[0] == []


@pytest.mark.parametrize("k", range(2, 10))
def test_with_scalar_rewards_the_best_and_the_worst_are_the_largest_and_the_smallest(k):
    rewards = [random.Random(k + i).gauss(0, 3) for i in range(k)]

    def wins(i: int, j: int) -> float:
        return 1 / (1 + math.exp(rewards[j] - rewards[i]))

    order = sorted(range(k), key=lambda i: rewards[i])
    assert play(k, wins, BestWorst())[0] == [(order[-1], order[0])]
    assert play(k, wins)[0] == [(order[-1], order[0])]


def test_comparisons_are_kept_under_the_indices_of_the_completions():
    players = [Completion("p", i, f"{i}", (1,), (2,), "stop", 0) for i in (1, 4, 6)]
    table = ComparisonRounds(
        BestWorst(), {"p": Prompt("p", (Message("user", "p"),))}, {"p": players}
    )
    assert [(c.first, c.second) for c in table.next_comparisons()] == [
        ("1", "4"),
        ("1", "6"),
        ("4", "6"),
    ]
    table.record_answers([0.9, 0.8, 0.7])
    assert table.matrices == {"p": {(1, 4): 0.9, (1, 6): 0.8, (4, 6): 0.7}}
    assert index_by_position(players, table.matrices["p"]) == {
        (0, 1): 0.9,
        (0, 2): 0.8,
        (1, 2): 0.7,
    }
    assert is_complete(3, index_by_position(players, table.matrices["p"]))


@pytest.mark.parametrize("kind", [Tournament, BestWorst, MaxRandom, AllPairs])
def test_a_margin_lies_between_zero_and_a_half(kind):
    assert kind().margin == 0.0
    assert kind(margin=0.499).margin == 0.499
    for margin in (-1e-9, 0.5):
        with pytest.raises(ValidationError):
            kind(margin=margin)
