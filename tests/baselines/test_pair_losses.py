"""The losses of 2024 and 2025 against numbers worked by hand: log-ratios 0.8 and -0.4."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from baselines.apo_down import APODown
from baselines.apo_zero import APOZero
from baselines.discopop import DiscoPOP
from baselines.exo import EXO
from baselines.hinge import Hinge
from baselines.nca import NCA
from baselines.r_dpo import RDPO
from baselines.rebel import REBEL
from baselines.rspo import RSPO
from baselines.wpo import WPO
from baselines.xpo import XPO
from harness.errors import HarnessError
from harness.types import PairBatch
from tests.objectives.pairs import both, pairs

BATCH = pairs((0.8, -0.4), reference=(0.0, 0.0), previous=(0.0, 0.0))
"""s_w = 0.8, s_l = -0.4: a contrast of 1.2 to either anchor."""


def value(objective, batch: PairBatch = BATCH) -> float:
    assert objective(batch).dtype == torch.float64
    return objective(batch).item()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_apo():
    # zero: 1 - sigmoid(0.08) + sigmoid(-0.04) = 1 - 0.519989 + 0.490001 = 0.970012
    assert value(APOZero(beta=0.1)) == pytest.approx(0.970012, abs=1e-6)
    # down: sigmoid(0.08) + 1 - sigmoid(0.12) = 0.519989 + 1 - 0.529964 = 0.990025
    assert value(APODown(beta=0.1)) == pytest.approx(0.990025, abs=1e-6)


def test_exo():
    # q = sigmoid(0.12) = 0.529964; q (log q - log 0.999) + (1 - q)(log(1 - q) - log 0.001)
    # = 0.529964 * (-0.634946 + 0.001001) + 0.470036 * (-0.754946 + 6.907755) = 2.556073
    assert value(EXO(beta=0.1, epsilon=1e-3)) == pytest.approx(2.556073, abs=1e-6)


def test_nca():
    # -log sigmoid(0.008) = 0.689155, of -0.008 0.697155, of 0.004 0.691149
    # 0.689155 + 0.697155 / 2 + 0.691149 / 2 = 1.383307
    assert value(NCA(beta=0.01)) == pytest.approx(1.383307, abs=1e-6)
    assert value(NCA(beta=0.1)) == pytest.approx(1.357594, abs=1e-6)


def test_hinge():
    assert value(Hinge(beta=0.1)) == pytest.approx(1 - 0.1 * 1.2)
    assert value(Hinge(beta=1.0)) == 0.0  # the margin is 1.2: no gradient


def test_discopop_is_smaller_for_a_pair_that_is_a_little_wrong():
    # m = 0.06, share sigmoid(1.2) = 0.768525: 0.231475 * 0.663597 + 0.768525 * 0.941765 = 0.877376
    assert value(DiscoPOP(beta=0.05, tau=0.05)) == pytest.approx(0.877376, abs=1e-6)
    wrong = pairs((-0.8, 0.4), reference=(0.0, 0.0))
    assert value(DiscoPOP(beta=0.05, tau=0.05), wrong) == pytest.approx(0.801891, abs=1e-6)


def test_r_dpo_learns_less_from_a_longer_winner():
    # -log sigmoid(0.12 + 0.01 * 40) = 0.466573; -log sigmoid(0.12 - 0.4) = 0.842915
    objective = RDPO(beta=0.1, alpha=0.01)
    longer, shorter = (replace(BATCH, lengths=both(*n)) for n in ((120.0, 80.0), (80.0, 120.0)))
    assert value(objective, longer) == pytest.approx(0.466573, abs=1e-6)
    assert value(objective, shorter) == pytest.approx(0.842915, abs=1e-6)


def test_wpo_weighs_by_both_probabilities_a_token_and_never_by_more_than_1():
    # log pi -4 and -3 over 20 and 6 tokens: a = -0.2 and -0.5, weight exp(-0.7) = 0.496585
    # contrasts: policy -1, reference -2.2: 1.2; 0.496585 * -log sigmoid(0.012) = 0.341236
    batch = pairs((-4.0, -3.0), lengths=(20.0, 6.0), reference=(-4.8, -2.6))
    assert value(WPO(beta=0.01), batch) == pytest.approx(0.341236, abs=1e-6)
    # densities above 1 are no probabilities, but the limit shows: exp(0.4) counts as 1
    above = pairs((6.0, 0.6), lengths=(20.0, 6.0), reference=(5.2, 1.0))
    assert value(WPO(beta=0.01), above) == pytest.approx(0.687165, abs=1e-6)


def test_wpos_weight_has_no_gradient():
    chosen = torch.tensor([-4.0], dtype=torch.float64, requires_grad=True)
    batch = pairs((-4.0, -3.0), lengths=(20.0, 6.0), reference=(-4.8, -2.6))
    batch = replace(batch, policy=replace(batch.policy, chosen=chosen))
    (slope,) = torch.autograd.grad(WPO(beta=0.01)(batch).sum(), chosen)
    # -w beta sigmoid(-0.012) = -0.496585 * 0.01 * 0.497
    assert slope.item() == pytest.approx(-0.496585 * 0.01 * sigmoid(-0.012), rel=1e-6)


def test_rebel_regresses_the_difference_of_rewards():
    rewards = replace(BATCH, rewards=both(0.5, 0.0))
    assert value(REBEL(eta=1.0), rewards) == pytest.approx((1.2 - 0.5) ** 2)
    close = replace(BATCH, rewards=both(0.52, 0.5))
    assert value(REBEL(eta=1e6), close) == pytest.approx(399_952_001.44)
    # win rates 1 and 0: (1.2 - 2 * 1)^2
    assert value(REBEL(eta=2.0, reward="win rate")) == pytest.approx(0.64)


def test_rspo_is_sppo_with_the_squares_of_log_ratios_to_the_reference():
    # SPPO: (0.8 - 100)^2 / 2 + (-0.4 + 100)^2 / 2 = 9880.4; 0.5 / 2 * (1.5^2 + 0.3^2) = 0.585
    batch = pairs((0.8, -0.4), win_rates=(0.6, 0.4), previous=(0.0, 0.0), reference=(-0.7, -0.1))
    assert value(RSPO(eta=1000.0, strength=0.5), batch) == pytest.approx(9880.985)


def test_xpo_lowers_the_references_response_whether_it_wins_or_loses():
    # -log sigmoid(0.12) = 0.634946; + 1e-5 * -50
    batch = pairs((-50.0, -60.0), reference=(-50.8, -59.6))
    won = {"reference": both(1.0, 0.0), "policy": both(0.0, 1.0)}
    lost = {"reference": both(0.0, 1.0), "policy": both(1.0, 0.0)}
    objective = XPO(beta=0.1, alpha=1e-5)
    assert value(objective, replace(batch, samplers=won)) == pytest.approx(0.634446, abs=1e-6)
    assert value(objective, replace(batch, samplers=lost)) == pytest.approx(0.634346, abs=1e-6)
    strong = XPO(beta=0.1, alpha=0.01)
    assert value(strong, replace(batch, samplers=won)) == pytest.approx(0.134946, abs=1e-6)


def test_what_a_batch_does_not_say_is_named():
    bare = PairBatch(BATCH.policy, BATCH.anchors)
    with pytest.raises(HarnessError, match=r"reads `rewards`.*rewards=\.\.\."):
        REBEL(eta=1.0)(bare)
    with pytest.raises(HarnessError, match="'reference' has sampled.*samplers="):
        XPO(beta=0.1, alpha=1e-5)(bare)
    assert bare.sampled_by("policy").chosen.tolist() == [1.0]
