"""Log-probabilities against the model's own logits, one row at a time."""

from __future__ import annotations

import random

import pytest
import torch

from harness.models import load_model
from harness.training import batches
from harness.training.logps import sequence_logps
from harness.types import Policy


def drawn_rows(count: int, seed: int = 0) -> list[batches.Row]:
    rng = random.Random(seed)
    return [
        (
            [rng.randrange(5, 20) for _ in range(rng.randint(1, 9))],
            [rng.randrange(5, 20) for _ in range(rng.randint(1, 12))],
        )
        for _ in range(count)
    ]


def by_hand(model, prompt, response) -> float:
    """Sum over the response of log softmax(logits at the position before)[token]."""
    logits = model(torch.tensor([[*prompt, *response]])).logits[0].double()
    told = torch.log_softmax(logits, -1)
    start = len(prompt)
    return sum(told[start + i - 1, token].item() for i, token in enumerate(response))


@pytest.fixture(scope="module")
def model(tiny_policy):
    return load_model(Policy("tiny", tiny_policy), torch.float32, "cpu")


def test_rows_side_by_side_give_what_each_gives_alone(model):
    items = drawn_rows(17)
    told = sequence_logps(model, batches.rows(items))
    expected = torch.tensor([by_hand(model, *row) for row in items])
    assert told.dtype == torch.float32
    torch.testing.assert_close(told.double(), expected.double(), atol=1e-4, rtol=0)


def test_gradients_do_not_depend_on_the_neighbours(model):
    items = drawn_rows(6, seed=1)

    def gradient(rows: list[batches.Row]) -> torch.Tensor:
        model.zero_grad()
        for row in rows:
            sequence_logps(model, batches.rows([row])).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    apart = gradient(items)
    model.zero_grad()
    sequence_logps(model, batches.rows(items)).sum().backward()
    together = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float((apart - together).norm() / apart.norm()) < 1e-5


def test_an_epoch_visits_every_item_once_and_differently_each_time():
    first, second = (list(batches.shuffled(10, 4, seed=3, epoch=e)) for e in (0, 1))
    assert [len(step) for step in first] == [4, 4, 2]
    assert sorted(i for step in first for i in step) == list(range(10))
    assert first != second
    assert first == list(batches.shuffled(10, 4, seed=3, epoch=0))


def test_neighbours_by_length_are_alike():
    found = list(batches.by_length([5, 1, 9, 2], 2))
    assert found == [[1, 3], [0, 2]]
