"""INPO against numbers worked by hand and its limits."""

import pytest
from pydantic import ValidationError

from harness.objectives.inpo import INPO
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


def test_inpo_without_kl_does_not_look_at_the_reference():
    near = pairs((1.0, 0.0), reference=(0.0, 0.0), previous=(0.5, 0.0))
    far = pairs((1.0, 0.0), reference=(9.0, 0.0), previous=(0.5, 0.0))
    assert INPO(eta=0.3, tau=0.0)(near).item() == INPO(eta=0.3, tau=0.0)(far).item()
    assert INPO(eta=0.3, tau=0.1)(near).item() != INPO(eta=0.3, tau=0.1)(far).item()


def test_a_tau_above_eta_is_no_mixture():
    with pytest.raises(ValidationError, match="tau must not exceed eta"):
        INPO(eta=0.1, tau=0.2)
