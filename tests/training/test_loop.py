"""The loop: the schedule's shape, a step's mean whatever the micro-batch, and broken gradients."""

from __future__ import annotations

import pytest
import torch

from harness.errors import CheckError
from harness.training.loop import Optimiser, factor, minimise


def settings(**changes) -> Optimiser:
    return Optimiser(**{"learning_rate": 0.1, "batch": 4, **changes})


def test_the_cosine_rises_over_the_warm_up_and_ends_near_zero():
    # 100 steps, 10 of warm-up: 0.1 at first, 1 at step 9, half way down at step 55
    cosine = settings(warmup=0.1)
    assert factor(cosine, 0, 100) == pytest.approx(0.1)
    assert factor(cosine, 9, 100) == pytest.approx(1.0)
    assert factor(cosine, 55, 100) == pytest.approx(0.5)
    assert 0 < factor(cosine, 99, 100) < 0.001


def test_linear_and_constant_schedules():
    assert factor(settings(schedule="linear"), 25, 100) == pytest.approx(0.75)
    assert factor(settings(schedule="constant"), 99, 100) == 1.0


def trained(micro_batch: int) -> tuple[torch.Tensor, list[dict[str, float]]]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    inputs, targets = torch.randn(10, 3), torch.randn(10)

    def loss(items):
        apart = model(inputs[list(items)]).squeeze(-1) - targets[list(items)]
        return apart**2, {"apart": apart}

    steps = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    log = minimise(model, settings(micro_batch=micro_batch), steps, loss, lambda _: None)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), log


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_a_step_is_the_mean_over_its_items_however_they_are_split(micro_batch):
    whole, whole_log = trained(4)
    split, split_log = trained(micro_batch)
    torch.testing.assert_close(whole, split, atol=1e-6, rtol=0)
    assert [row["loss"] for row in split_log] == pytest.approx([r["loss"] for r in whole_log])


def test_a_gradient_that_is_not_finite_stops_the_run():
    model = torch.nn.Linear(1, 1)

    def loss(items):
        return model(torch.full((len(items), 1), float("inf"))).squeeze(-1), {}

    with pytest.raises(CheckError, match="step 1 is not finite"):
        minimise(model, settings(), [[0, 1]], loss, lambda _: None)
