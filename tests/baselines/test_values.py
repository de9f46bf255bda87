"""Every baseline against numbers worked by hand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from baselines.cdpo import CDPO
from baselines.dno import DNO
from baselines.dpo import DPO
from baselines.ipo import IPO
from baselines.kto import KTO
from baselines.mnpo import MNPO
from baselines.onpo import ONPO
from baselines.robust_dpo import RobustDPO
from baselines.rpo import RPO
from baselines.selm import SELM
from baselines.simpo import SimPO
from baselines.sppo import SPPO
from baselines.sppo_hard import SPPOHard
from tests.objectives.pairs import pairs

ANCHORED = pairs((-1.0, -3.0), lengths=(2.0, 4.0), reference=(-2.0, -2.5), previous=(-2.0, -2.5))
"""Log-ratios s_w = 1 and s_l = -0.5: a contrast of 1.5, or 1 / 2 + 0.5 / 4 = 0.625 a token."""


def value(objective, batch=ANCHORED) -> float:
    return objective(batch).item()


def test_dpo():
    # beta * 1.5 = 0.15; -log sigmoid(0.15) = log(1 + exp(-0.15)) = 0.620957
    assert value(DPO(beta=0.1)) == pytest.approx(0.620957, abs=1e-6)


def test_cdpo():
    # -log sigmoid(-0.15) = 0.770957; 0.9 * 0.620957 + 0.1 * 0.770957 = 0.635957
    assert value(CDPO(beta=0.1, epsilon=0.1)) == pytest.approx(0.635957, abs=1e-6)


def test_robust_dpo():
    # (0.9 * 0.620957 - 0.1 * 0.770957) / 0.8 = (0.558861 - 0.077096) / 0.8 = 0.602207
    assert value(RobustDPO(beta=0.1, epsilon=0.1)) == pytest.approx(0.602207, abs=1e-6)


def test_rpo():
    # 0.620957 + 0.4 * (1 / 2 nats a token of the chosen response) = 0.820957
    assert value(RPO(beta=0.1, alpha=0.4)) == pytest.approx(0.820957, abs=1e-6)


def test_ipo_summed_and_per_token():
    # target 1 / (2 * 0.25) = 2; (1.5 - 2)^2 = 0.25; (0.625 - 2)^2 = 1.890625
    assert value(IPO(tau=0.25)) == pytest.approx(0.25)
    assert value(IPO(tau=0.25, per_token=True)) == pytest.approx(1.890625)


def test_sppo():
    # eta = 4: targets 4 * (0.7 - 0.5) = 0.8 and 4 * (0.4 - 0.5) = -0.4
    # ((1 - 0.8)^2 + (-0.5 + 0.4)^2) / 2 = (0.04 + 0.01) / 2 = 0.025
    batch = pairs((-1.0, -3.0), previous=(-2.0, -2.5), win_rates=(0.7, 0.4))
    assert value(SPPO(eta=4.0), batch) == pytest.approx(0.025)


def test_sppo_hard():
    # eta = 4: targets 2 and -2; ((1 - 2)^2 + (-0.5 + 2)^2) / 2 = (1 + 2.25) / 2 = 1.625
    assert value(SPPOHard(eta=4.0)) == pytest.approx(1.625)


def test_simpo():
    # a token: -1 / 2 and -3 / 4, contrast 0.25; 2 * 0.25 - 1 = -0.5; log(1 + exp(0.5)) = 0.974077
    assert value(SimPO(beta=2.0, gamma=1.0)) == pytest.approx(0.974077, abs=1e-6)


def test_dno():
    # margin 0.1 * 1.5 = 0.15; win rates 0.7, 0.4: sigmoid(0.3) = 0.574443
    # 0.574443 * 0.620957 + 0.425557 * 0.770957 = 0.356704 + 0.328086 = 0.684791
    batch = pairs((-1.0, -3.0), previous=(-2.0, -2.5), win_rates=(0.7, 0.4))
    assert value(DNO(eta=0.1), batch) == pytest.approx(0.684790, abs=2e-6)


def test_selm():
    # 0.620957 + 0.5 * 0.1 * (1 - 0.5) / 2 = 0.620957 + 0.0125
    assert value(SELM(beta=0.1, alpha=0.5)) == pytest.approx(0.633457, abs=1e-6)


def test_onpo():
    # (1.5 - 4 / 2)^2 = 0.25
    assert value(ONPO(eta=4.0)) == pytest.approx(0.25)


def test_kto():
    # z = max(0, (1 - 0.5) / 2) = 0.25; beta = 2: sigmoid(1.5) = 0.817574 for both
    # 1.5 * (1 - 0.817574) + 1 * (1 - 0.817574) = 2.5 * 0.182426 = 0.456064
    loss = value(KTO(beta=2.0, desirable=1.5, undesirable=1.0))
    assert loss == pytest.approx(0.456064, abs=1e-6)


def test_mnpo():
    # contrasts: policy 2, reference 1, previous 0.5, the one before -1; weights 0.25 and 0.75
    # mixture 0.25 * 0.5 - 0.75 = -0.625; h = 2 - 0.5 * 1 - 0.5 * -0.625 = 1.8125
    # target 1 / (2 * 0.4) = 1.25; 0.5625^2 = 0.31640625
    batch = pairs((2.0, 0.0), reference=(1.0, 0.0), previous=(0.5, 0.0), previous_2=(-1.0, 0.0))
    objective = MNPO(eta=0.4, tau=0.2, weights=(0.25, 0.75))
    assert objective.margin(batch).item() == pytest.approx(1.8125)
    assert value(objective, batch) == pytest.approx(0.31640625)


def test_mnpo_weighs_only_the_previous_policies_that_there_are():
    batch = pairs((2.0, 0.0), reference=(1.0, 0.0), previous=(0.5, 0.0))
    # h = 2 - 0.5 * 1 - 0.5 * 0.5 = 1.25
    assert MNPO(eta=0.4, tau=0.2, weights=(0.25, 0.75)).margin(batch).item() == pytest.approx(1.25)


def test_mnpo_names_its_anchors_by_its_weights():
    three = MNPO(eta=0.4, tau=0.2, weights=(1.0, 0.0, 2.0))
    assert three.anchors == {"reference", "previous", "previous-2", "previous-3"}
    with pytest.raises(ValidationError, match="the first must be positive"):
        MNPO(eta=0.4, tau=0.2, weights=(0.0, 1.0))
