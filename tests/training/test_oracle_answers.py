"""Whatever an oracle of a user's own says is checked before it decides a pair."""

from __future__ import annotations

import math

import pytest
import torch

from harness.errors import CheckError
from harness.training.oracle_answers import checked_probabilities, checked_rewards
from harness.types import Comparison, Message, Prompt

PROMPT = Prompt("first", (Message("user", "x"),))
COMPARISONS = [Comparison(PROMPT, "a", "b"), Comparison(PROMPT, "c", "d")]


class Oracle:
    transitive = False

    def __init__(self, answers):
        self.answers = answers

    def compare(self, comparisons, advance):
        return self.answers

    def score(self, responses, advance):
        return self.answers


def ignore(count: int) -> None:
    pass


@pytest.mark.parametrize("answers", [[0, 1.0], torch.tensor([0.25, 1.0]), (0.5, 1 + 1e-7)])
def test_numbers_of_any_type_are_taken_as_probabilities(answers):
    taken = checked_probabilities(Oracle(answers), COMPARISONS, ignore)
    assert [type(value) for value in taken] == [float, float]
    assert all(0 <= value <= 1 for value in taken)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([0.5, math.nan], "Oracle said nan of prompt 'first': a finite number"),
        ([0.5, math.inf], "said inf"),
        ([0.5, 1.2], r"said 1\.2 .* within 0 and 1"),
        ([-0.1, 0.5], "within 0 and 1"),
        ([0.5, "A"], "said 'A'"),
        ([0.5, None], "said None"),
        ([0.5], "gave 1 answers to 2 questions"),
        ([0.5, 0.5, 0.5], "gave 3 answers"),
        (None, "gave no list of answers"),
        (torch.tensor([[0.1, 0.9], [0.2, 0.8]]), "said tensor"),
    ],
)
def test_everything_else_is_refused_with_the_oracle_and_the_prompt(answers, message):
    with pytest.raises(CheckError, match=message):
        checked_probabilities(Oracle(answers), COMPARISONS, ignore)


def test_rewards_are_finite_numbers_of_any_size():
    responses = [(PROMPT, "a"), (PROMPT, "b")]
    assert checked_rewards(Oracle([-30, 7.5]), responses, ignore) == [-30.0, 7.5]
    with pytest.raises(CheckError, match="said nan"):
        checked_rewards(Oracle([0.0, math.nan]), responses, ignore)
