"""The tournament's bracket, its ties, and that pairs are a function of the kept comparisons."""

from __future__ import annotations

import itertools
import random

import pytest

from harness.training.pairing import Table, Tournament, replay
from harness.types import Completion, Message, Prompt


def play(k: int, wins) -> tuple[list[tuple[int, int]], dict[tuple[int, int], float]]:
    """Run a tournament against `wins(i, j)`; return its pairs and what it asked."""
    rounds, matrix = Tournament().rounds(k), {}
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
    assert replay(Tournament(), 1, {}) == []


def completions(texts: list[str]) -> list[Completion]:
    return [Completion("p", i, t, (1,), (2, i), "stop", 0) for i, t in enumerate(texts)]


def test_replaying_the_kept_comparisons_gives_the_same_pairs():
    rng = random.Random(0)
    prompts = {key: Prompt(key, (Message("user", key),)) for key in "abc"}
    texts = {key: completions([f"{key}{i}" for i in range(8)]) for key in prompts}
    table = Table(Tournament(), prompts, texts)
    asked = 0
    while table.open:
        questions = table.questions()
        asked += len(questions)
        table.answer([rng.random() for _ in questions])
    assert asked == 33
    for key, matrix in table.matrices.items():
        again = replay(Tournament(), 8, matrix)
        assert again == replay(Tournament(), 8, dict(sorted(matrix.items())))
        assert all(matrix[pair] > 0.5 for pair in again)


def test_identical_responses_are_a_tie_that_nobody_is_asked_about():
    prompts = {"p": Prompt("p", (Message("user", "p"),))}
    table = Table(Tournament(), prompts, {"p": completions(["same"] * 8)})
    while table.open:
        assert table.questions() == []
        table.answer([])
    assert set(table.matrices["p"].values()) == {0.5}
    assert replay(Tournament(), 8, table.matrices["p"]) == []


def test_every_match_is_between_two_players():
    for k in range(2, 20):
        _, asked = play(k, lambda i, j: float((i * 7 + j) % 3 > 0))
        assert all(i != j and {i, j} <= set(range(k)) for i, j in asked)
        assert len(asked) == len({frozenset(m) for m in asked}) or k < 4
        assert all(a != b for a, b in itertools.pairwise(asked))
