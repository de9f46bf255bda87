"""INPO and its soft form against numbers worked by hand, and their limits."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from harness.objectives.inpo import INPO, SoftINPO
from harness.types import Logps, PairBatch
from tests.objectives.pairs import pairs


def test_inpo_vanishes_where_the_margin_is_half_over_eta():
    # contrasts: policy 4, reference 1, previous 2; tau / eta = 0.5
    # h = 4 - 0.5 * 1 - 0.5 * 2 = 2.5; the target is 1 / (2 * 0.2) = 2.5
    batch = pairs((4.0, 0.0), reference=(1.0, 0.0), previous=(2.0, 0.0))
    assert INPO(eta=0.2, tau=0.1).margin(batch).item() == pytest.approx(2.5)
    assert INPO(eta=0.2, tau=0.1)(batch).item() == pytest.approx(0.0)


def test_inpo_is_the_squared_distance_from_its_target():
    # h = (-3 + 5) - 0.25 * (-4 + 5) - 0.75 * (-6 + 5) = 2 - 0.25 + 0.75 = 2.5
    # target = 1 / (2 * 0.4) = 1.25; loss = 1.25 ** 2 = 1.5625
    batch = pairs((-3.0, -5.0), reference=(-4.0, -5.0), previous=(-6.0, -5.0))
    assert INPO(eta=0.4, tau=0.1)(batch).item() == pytest.approx(1.5625)


def test_the_target_is_half_over_eta():
    assert INPO(eta=0.4, tau=0.1).target == pytest.approx(1.25)


def test_inpo_without_kl_does_not_look_at_the_reference():
    near = pairs((1.0, 0.0), reference=(0.0, 0.0), previous=(0.5, 0.0))
    far = pairs((1.0, 0.0), reference=(9.0, 0.0), previous=(0.5, 0.0))
    assert INPO(eta=0.3, tau=0.0)(near).item() == INPO(eta=0.3, tau=0.0)(far).item()
    assert INPO(eta=0.3, tau=0.1)(near).item() != INPO(eta=0.3, tau=0.1)(far).item()


@pytest.mark.parametrize("objective", [INPO, SoftINPO])
def test_a_tau_above_eta_is_no_mixture(objective):
    with pytest.raises(ValidationError, match="tau must not exceed eta"):
        objective(eta=0.1, tau=0.2)


def soft_batch(margin: torch.Tensor, probability: float) -> PairBatch:
    zero = torch.zeros_like(margin)
    unchanged = Logps(zero, zero)
    return PairBatch(
        policy=Logps(margin, zero),
        anchors={"reference": unchanged, "previous": unchanged},
        probability=torch.full_like(margin, probability),
    )


def test_soft_inpo_vanishes_where_the_margin_is_the_clear_part_of_the_preference():
    # target (0.8 - 0.5) / 0.2 = 1.5; at margin 1 the loss is 0.25
    soft = SoftINPO(eta=0.2, tau=0.1)
    assert soft(soft_batch(torch.tensor([1.5]), 0.8)).item() == pytest.approx(0.0)
    assert soft(soft_batch(torch.tensor([1.0]), 0.8)).item() == pytest.approx(0.25)


def test_a_certain_preference_is_inpo():
    certain = soft_batch(torch.tensor([0.7]), 1.0)
    assert SoftINPO(eta=0.2, tau=0.1)(certain).item() == INPO(eta=0.2, tau=0.1)(certain).item()


def test_soft_inpos_gradient_is_the_mean_of_bernoulli_labels():
    # P (h - c)² + (1 - P)(-h - c)² differs from (h - (2P - 1) c)² by a constant; c = 1 / (2 eta)
    h, p = torch.tensor([0.3], dtype=torch.float64, requires_grad=True), 0.7
    hard = INPO(eta=0.2, tau=0.1)
    hard_mean = p * hard(soft_batch(h, 1.0)) + (1 - p) * hard(soft_batch(-h, 1.0))
    soft = SoftINPO(eta=0.2, tau=0.1)(soft_batch(h, p))
    (first,), (second,) = (torch.autograd.grad(loss.sum(), h) for loss in (hard_mean, soft))
    assert first.item() == pytest.approx(second.item())
