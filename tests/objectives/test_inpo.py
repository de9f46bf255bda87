"""INPO and DPO against numbers worked by hand, gradients and limits."""

import pytest
import torch
from pydantic import ValidationError

from baselines.dpo import DPO
from harness.objectives.inpo import INPO
from harness.protocols import Logps, PairBatch


def pairs(**logps: tuple[float, float]) -> PairBatch:
    def both(key: str) -> Logps:
        chosen, rejected = logps[key]
        return Logps(
            torch.tensor([chosen], dtype=torch.float64),
            torch.tensor([rejected], dtype=torch.float64),
        )

    one = Logps(torch.ones(1), torch.ones(1))
    anchors = {key: both(key) for key in ("reference", "previous") if key in logps}
    return PairBatch(both("policy"), anchors, one, torch.ones(1))


def test_inpo_vanishes_where_the_margin_is_half_over_eta():
    # contrasts: policy 4, reference 1, previous 2; tau / eta = 0.5
    # h = 4 - 0.5 * 1 - 0.5 * 2 = 2.5; the target is 1 / (2 * 0.2) = 2.5
    batch = pairs(policy=(4.0, 0.0), reference=(1.0, 0.0), previous=(2.0, 0.0))
    assert INPO(eta=0.2, tau=0.1).margin(batch).item() == pytest.approx(2.5)
    assert INPO(eta=0.2, tau=0.1)(batch).item() == pytest.approx(0.0)


def test_inpo_is_the_squared_distance_from_its_target():
    # h = (-3 + 5) - 0.25 * (-4 + 5) - 0.75 * (-6 + 5) = 2 - 0.25 + 0.75 = 2.5
    # target = 1 / (2 * 0.4) = 1.25; loss = 1.25 ** 2 = 1.5625
    batch = pairs(policy=(-3.0, -5.0), reference=(-4.0, -5.0), previous=(-6.0, -5.0))
    assert INPO(eta=0.4, tau=0.1)(batch).item() == pytest.approx(1.5625)


def test_the_margin_is_zero_where_all_policies_agree():
    batch = pairs(policy=(-7.0, -3.0), reference=(-7.0, -3.0), previous=(-7.0, -3.0))
    assert INPO(eta=0.3, tau=0.1).margin(batch).item() == pytest.approx(0.0, abs=1e-12)
    assert DPO(beta=0.1).margin(batch).item() == 0.0


def test_inpo_without_kl_does_not_look_at_the_reference():
    near = pairs(policy=(1.0, 0.0), reference=(0.0, 0.0), previous=(0.5, 0.0))
    far = pairs(policy=(1.0, 0.0), reference=(9.0, 0.0), previous=(0.5, 0.0))
    assert INPO(eta=0.3, tau=0.0)(near).item() == INPO(eta=0.3, tau=0.0)(far).item()
    assert INPO(eta=0.3, tau=0.1)(near).item() != INPO(eta=0.3, tau=0.1)(far).item()


def test_inpo_is_ipo_where_the_previous_policy_is_the_reference():
    # IPO with tau_IPO = eta: ((log-ratio contrast) - 1 / (2 eta)) ** 2, whatever tau is
    batch = pairs(policy=(-2.0, -4.0), reference=(-3.0, -3.5), previous=(-3.0, -3.5))
    ipo = ((-2.0 + 3.0) - (-4.0 + 3.5) - 1 / (2 * 0.2)) ** 2
    for tau in (0.0, 0.07, 0.2):
        assert INPO(eta=0.2, tau=tau)(batch).item() == pytest.approx(ipo)


def test_dpo_is_minus_log_sigmoid_of_the_scaled_contrast():
    # beta * ((-1 + 2) - (-3 + 2.5)) = 0.1 * 1.5 = 0.15; -log sigmoid(0.15) = 0.620957
    batch = pairs(policy=(-1.0, -3.0), reference=(-2.0, -2.5))
    assert DPO(beta=0.1)(batch).item() == pytest.approx(0.620957, abs=1e-6)


@pytest.mark.parametrize("objective", [INPO(eta=0.3, tau=0.1), DPO(beta=0.4)])
def test_gradients_equal_finite_differences(objective):
    generator = torch.Generator().manual_seed(0)

    def draw() -> torch.Tensor:
        return torch.randn(5, dtype=torch.float64, generator=generator)

    anchors = {"reference": Logps(draw(), draw()), "previous": Logps(draw(), draw())}
    lengths = Logps(torch.ones(5), torch.ones(5))

    def loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        return objective(PairBatch(Logps(chosen, rejected), anchors, lengths, torch.ones(5)))

    inputs = (draw().requires_grad_(), draw().requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


def test_a_tau_above_eta_is_no_mixture():
    with pytest.raises(ValidationError, match="tau must not exceed eta"):
        INPO(eta=0.1, tau=0.2)
