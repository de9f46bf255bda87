"""What objectives become at the ends of their constants, and their gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from baselines.apo_down import APODown
from baselines.apo_zero import APOZero
from baselines.cdpo import CDPO
from baselines.discopop import DiscoPOP
from baselines.dno import DNO
from baselines.dpo import DPO
from baselines.exo import EXO
from baselines.hinge import Hinge
from baselines.ipo import IPO
from baselines.kto import KTO
from baselines.mnpo import MNPO, mnpo_loss
from baselines.nca import NCA
from baselines.onpo import ONPO
from baselines.r_dpo import RDPO
from baselines.rebel import REBEL
from baselines.robust_dpo import RobustDPO
from baselines.rpo import RPO
from baselines.rspo import RSPO
from baselines.selm import SELM
from baselines.simpo import SimPO
from baselines.sppo import SPPO
from baselines.sppo_hard import SPPOHard
from baselines.wpo import WPO
from baselines.xpo import XPO
from harness.objectives.inpo import INPO
from harness.protocols import Objective
from harness.types import Logps, PairBatch
from tests.objectives.pairs import drawn

ANCHORED = [
    INPO(eta=0.3, tau=0.1),
    DPO(beta=0.4),
    CDPO(beta=0.4, epsilon=0.1),
    RobustDPO(beta=0.4, epsilon=0.1),
    RPO(beta=0.4, alpha=0.2),
    IPO(tau=0.3),
    IPO(tau=0.3, per_token=True),
    SPPO(eta=3.0),
    SPPOHard(eta=3.0),
    DNO(eta=0.4),
    SELM(beta=0.4, alpha=0.1),
    ONPO(eta=3.0),
    KTO(beta=0.4),
    MNPO(eta=0.3, tau=0.1, weights=(1.0, 2.0, 0.5)),
    MNPO(eta=0.3, tau=0.1, weights=(1.0, 2.0), per_token=True),
    APOZero(beta=0.4),
    APODown(beta=0.4),
    EXO(beta=0.4, epsilon=0.1),
    NCA(beta=0.4),
    Hinge(beta=0.4),
    DiscoPOP(beta=0.4, tau=0.3),
    RDPO(beta=0.4, alpha=0.1),
    WPO(beta=0.4),
    REBEL(eta=2.0),
    REBEL(eta=2.0, reward="win rate"),
    RSPO(eta=3.0, strength=0.5),
    XPO(beta=0.4, alpha=0.1),
]
EVERY = [*ANCHORED, SimPO(beta=2.0, gamma=0.5)]
BATCH = drawn(7)


def same(first: Objective, second: Objective, batch: PairBatch = BATCH) -> None:
    torch.testing.assert_close(first(batch), second(batch), rtol=1e-12, atol=1e-12)


def anchored(**names: str) -> PairBatch:
    """The drawn pairs with some anchors replaced by others of them."""
    return replace(
        BATCH, anchors={**BATCH.anchors, **{k: BATCH.anchors[v] for k, v in names.items()}}
    )


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_an_objective_is_what_the_protocol_says(objective):
    assert isinstance(objective, Objective)
    assert objective(BATCH).shape == objective.margin(BATCH).shape == (7,)
    read = replace(BATCH, anchors={name: BATCH.anchors[name] for name in objective.anchors})
    assert torch.equal(objective(read), objective(BATCH))
    blind = replace(
        BATCH, win_rates=Logps(torch.full((7,), torch.nan), torch.full((7,), torch.nan))
    )
    assert objective(blind).isnan().any().item() == objective.win_rates


@pytest.mark.parametrize("objective", ANCHORED, ids=repr)
def test_the_margin_is_exactly_zero_where_all_policies_agree(objective):
    batch = replace(BATCH, anchors={name: BATCH.policy for name in objective.anchors})
    assert torch.equal(objective.margin(batch), torch.zeros(7, dtype=torch.float64))


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_gradients_equal_finite_differences(objective):
    # KTO's reference point carries no gradient; it is 0 for responses that became less likely
    lower = 9.0 if isinstance(objective, KTO) else 0.0
    if isinstance(objective, WPO):  # its weight carries none; it is 1 for certain responses
        lower = -99.0

    def loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        return objective(replace(BATCH, policy=Logps(chosen, rejected)))

    policy = BATCH.policy
    inputs = [(column - lower).requires_grad_() for column in (policy.chosen, policy.rejected)]
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("objective", [o for o in EVERY if hasattr(o, "target")], ids=repr)
def test_the_loss_is_the_margins_squared_distance_from_its_target(objective):
    expected = (objective.margin(BATCH) - objective.target) ** 2
    torch.testing.assert_close(objective(BATCH), expected)


@pytest.mark.parametrize("tau", [0.0, 0.07, 0.2])
def test_inpo_is_ipo_where_the_previous_policy_is_the_reference(tau):
    same(INPO(eta=0.2, tau=tau), IPO(tau=0.2), anchored(previous="reference"))


def test_inpo_without_kl_is_ipo_against_the_previous_policy():
    first = INPO(eta=0.2, tau=0.0)(BATCH)
    torch.testing.assert_close(first, IPO(tau=0.2)(anchored(reference="previous")))


def test_inpo_with_tau_equal_to_eta_is_ipo_against_the_reference():
    same(INPO(eta=0.2, tau=0.2), IPO(tau=0.2))


def test_mnpos_function_sums_over_the_response_by_default():
    constants = {"eta": 0.3, "tau": 0.1, "weights": (1.0, 2.0)}
    torch.testing.assert_close(mnpo_loss(BATCH, **constants), MNPO(**constants)(BATCH))


def test_mnpo_with_one_previous_policy_is_inpo():
    same(MNPO(eta=0.3, tau=0.1, weights=(2.0,)), INPO(eta=0.3, tau=0.1))
    same(MNPO(eta=0.3, tau=0.1, weights=(2.0, 0.0)), INPO(eta=0.3, tau=0.1))


def test_onpo_is_ipo_with_the_inverse_step_size():
    torch.testing.assert_close(ONPO(eta=5.0)(BATCH), IPO(tau=0.2)(anchored(reference="previous")))


def test_without_wrong_labels_the_dpos_agree():
    for objective in (CDPO(beta=0.4, epsilon=0.0), RobustDPO(beta=0.4, epsilon=0.0)):
        same(objective, DPO(beta=0.4))


def test_without_their_extra_term_the_dpos_agree():
    same(RPO(beta=0.4, alpha=0.0), DPO(beta=0.4))
    same(SELM(beta=0.4, alpha=0.0), DPO(beta=0.4))


def test_robust_dpo_is_unbiased_under_flipped_labels():
    objective = RobustDPO(beta=0.4, epsilon=0.3)
    expected = 0.7 * objective(BATCH) + 0.3 * objective(flipped(BATCH))
    torch.testing.assert_close(expected, DPO(beta=0.4)(BATCH))


def test_cdpo_is_dpo_in_expectation_over_flipped_labels():
    expected = 0.7 * DPO(beta=0.4)(BATCH) + 0.3 * DPO(beta=0.4)(flipped(BATCH))
    torch.testing.assert_close(CDPO(beta=0.4, epsilon=0.3)(BATCH), expected)


def test_sppo_with_certain_win_rates_is_the_hard_one():
    always, never = torch.ones(7, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
    same(SPPO(eta=3.0), SPPOHard(eta=3.0), replace(BATCH, win_rates=Logps(always, never)))


def test_dno_is_cdpo_against_the_previous_policy_with_the_labels_that_win_rates_give():
    rates = BATCH.win_rates.contrast().abs()
    batch = replace(anchored(reference="previous"), win_rates=Logps(rates, torch.zeros_like(rates)))
    for i, rate in enumerate(rates.tolist()):
        epsilon = 1 - 1 / (1 + torch.tensor(-rate, dtype=torch.float64).exp().item())
        expected = CDPO(beta=0.4, epsilon=epsilon)(batch)[i].item()
        assert DNO(eta=0.4)(batch)[i].item() == pytest.approx(expected)


def flipped(batch: PairBatch) -> PairBatch:
    def turned(both: Logps) -> Logps:
        return Logps(both.rejected, both.chosen)

    anchors = {name: turned(both) for name, both in batch.anchors.items()}
    return PairBatch(
        turned(batch.policy), anchors, turned(batch.lengths), batch.probability, batch.win_rates
    )


BOUNDS = {
    "beta": ([1e-9], [0.0]),
    "eta": ([1e-9], [0.0]),
    "tau": ([1e-9], [-1e-9]),
    "epsilon": ([0.0, 0.4999], [-1e-9, 0.5]),
    "alpha": ([0.0], [-1e-9]),
    "gamma": ([0.0], [-1e-9]),
    "desirable": ([0.0], [-1e-9]),
    "undesirable": ([0.0], [-1e-9]),
    "weights": ([(1.0,)], [()]),
    "strength": ([0.0], [-1e-9]),
}
"""By constant: values that are accepted, and values that are not."""


@pytest.mark.parametrize("objective", EVERY, ids=repr)
def test_constants_have_the_bounds_of_their_papers(objective):
    constants = objective.model_dump()
    for name in constants.keys() & BOUNDS.keys():
        accepted, refused = BOUNDS[name]
        if name == "epsilon" and isinstance(objective, EXO):  # its target has a logarithm of it
            accepted, refused = accepted[1:], [0.0, *refused]
        others = constants | ({"tau": 0.0} if name == "eta" and "tau" in constants else {})
        for value in accepted:
            assert getattr(type(objective)(**others | {name: value}), name) == value
        for value in refused:
            with pytest.raises(ValidationError):
                type(objective)(**others | {name: value})


def test_tau_may_be_zero_where_the_paper_has_a_limit_there_and_not_in_ipo():
    assert INPO(eta=0.3, tau=0.0).tau == MNPO(eta=0.3, tau=0.0, weights=(1.0,)).tau == 0.0
    with pytest.raises(ValidationError):
        IPO(tau=0.0)


def test_without_their_extra_term_the_newer_losses_are_their_neighbours():
    same(RDPO(beta=0.4, alpha=0.0), DPO(beta=0.4))
    same(XPO(beta=0.4, alpha=0.0), DPO(beta=0.4))
    same(RSPO(eta=3.0, strength=0.0), SPPO(eta=3.0))


def test_r_dpo_is_dpo_for_responses_of_one_length():
    fours = torch.full((7,), 4.0, dtype=torch.float64)
    same(
        RDPO(beta=0.4, alpha=0.3),
        DPO(beta=0.4),
        replace(BATCH, lengths=Logps(fours, fours)),
    )


def test_exo_is_the_reverse_of_cdpos_divergence_and_vanishes_at_the_same_margin():
    # both are least where σ(βΔ) = 1 − ε: at the margin log(0.9 / 0.1) = 2.197225
    chosen = (torch.tensor([2.1972245773], dtype=torch.float64) / 0.4).requires_grad_()
    zero = torch.zeros(1, dtype=torch.float64)
    batch = PairBatch(Logps(chosen, zero), {"reference": Logps(zero, zero)})
    for objective in (EXO(beta=0.4, epsilon=0.1), CDPO(beta=0.4, epsilon=0.1)):
        (slope,) = torch.autograd.grad(objective(batch).sum(), chosen)
        assert slope.item() == pytest.approx(0, abs=1e-9)
    assert EXO(beta=0.4, epsilon=0.1)(batch).item() == pytest.approx(0, abs=1e-9)


def test_kto_with_its_reference_point_at_zero_is_apo_zero():
    lowered = Logps(BATCH.policy.chosen - 9, BATCH.policy.rejected - 9)
    same(KTO(beta=0.4), APOZero(beta=0.4), replace(BATCH, policy=lowered))


def test_rebel_on_win_rates_has_sppos_minimiser_for_the_contrast():
    # SPPO asks for s_w − s_l = η (P_w − P_l), which is REBEL's target
    rates = BATCH.win_rates
    target = Logps(2.0 * rates.chosen, 2.0 * rates.rejected)
    previous = BATCH.anchors["previous"]
    policy = Logps(previous.chosen + target.chosen, previous.rejected + target.rejected)
    losses = REBEL(eta=2.0, reward="win rate")(replace(BATCH, policy=policy))
    torch.testing.assert_close(losses, torch.zeros(7, dtype=torch.float64))


def test_selm_explores_with_the_policys_own_responses_alone():
    full, empty = torch.ones(7, dtype=torch.float64), torch.zeros(7, dtype=torch.float64)
    first = replace(BATCH, samplers={"policy": Logps(full, empty), "data": Logps(empty, full)})
    ratios = BATCH.policy - BATCH.anchors["reference"]
    objective = SELM(beta=0.4, alpha=0.1)
    expected = DPO(beta=0.4)(BATCH) + 0.1 * 0.4 * ratios.chosen
    torch.testing.assert_close(objective(first), expected)
    neither = replace(BATCH, samplers={"data": Logps(full, full)})
    torch.testing.assert_close(objective(neither), DPO(beta=0.4)(BATCH))
