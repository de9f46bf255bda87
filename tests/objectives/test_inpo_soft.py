"""INPO with soft labels: its target, and that it is the mean of hard ones."""

from __future__ import annotations

import pytest
import torch

from harness.objectives.inpo import INPO, SoftINPO
from harness.types import Logps, PairBatch


def batch(margin: torch.Tensor, probability: float) -> PairBatch:
    zero, one = torch.zeros_like(margin), torch.ones_like(margin)
    still = Logps(zero, zero)
    return PairBatch(
        policy=Logps(margin, zero),
        anchors={"reference": still, "previous": still},
        lengths=Logps(one, one),
        probability=torch.full_like(margin, probability),
        win_rates=Logps(one / 2, one / 2),
    )


def test_it_vanishes_where_the_margin_is_the_clear_part_of_the_preference():
    # target (0.8 - 0.5) / 0.2 = 1.5; at margin 1 the loss is 0.25
    soft = SoftINPO(eta=0.2, tau=0.1)
    assert soft(batch(torch.tensor([1.5]), 0.8)).item() == pytest.approx(0.0)
    assert soft(batch(torch.tensor([1.0]), 0.8)).item() == pytest.approx(0.25)


def test_a_certain_preference_is_inpo():
    pairs = batch(torch.tensor([0.7]), 1.0)
    assert SoftINPO(eta=0.2, tau=0.1)(pairs).item() == INPO(eta=0.2, tau=0.1)(pairs).item()


def test_its_gradient_is_the_mean_of_bernoulli_labels():
    # P (h - c)² + (1 - P)(-h - c)² differs from (h - (2P - 1) c)² by a constant; c = 1 / (2 eta)
    h, p = torch.tensor([0.3], dtype=torch.float64, requires_grad=True), 0.7
    hard = INPO(eta=0.2, tau=0.1)
    drawn = p * hard(batch(h, 1.0)) + (1 - p) * hard(batch(-h, 1.0))
    soft = SoftINPO(eta=0.2, tau=0.1)(batch(h, p))
    (first,), (second,) = (torch.autograd.grad(loss.sum(), h) for loss in (drawn, soft))
    assert first.item() == pytest.approx(second.item())
