"""Methods in closed form on the game of COMAL's paper, against figures worked out apart."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.config import build, load
from harness.errors import ConfigError
from harness.statistics.zero_sum import exploitability, solve_regularized
from harness.theory.closed_form import ClosedForm
from harness.theory.dynamics import play
from harness.theory.mirror import constant_eta, mirror_descent
from harness.theory.nash import kl

# order (a, b, c): P[b ≻ a] = P[c ≻ b] = 0.9, P[a ≻ c] = 0.8; start = π_ref
PREFERENCE = np.array([[[0.5, 0.1, 0.8], [0.9, 0.5, 0.1], [0.2, 0.9, 0.5]]])
REFERENCE = np.array([[0.2, 0.3, 0.5]])
EQUILIBRIUM = (0.343233, 0.212819, 0.443948)
"""Of the game with τ = 0.1."""
BIASED = (0.346737, 0.209250, 0.444013)
NASH = (4 / 11, 3 / 11, 4 / 11)


def after(name: str, *steps: int) -> list[np.ndarray]:
    method = build(load("dynamics", name))
    assert isinstance(method, ClosedForm)
    run = play(method, PREFERENCE, REFERENCE, record=[1 + step for step in steps])
    return [policy[0] for policy in run.last]


@pytest.mark.parametrize(
    ("name", "first", "hundred", "end"),
    [
        (
            "nash-md",
            (0.201751, 0.289311, 0.508938),
            (0.339642, 0.216841, 0.443517),
            BIASED,
        ),
        ("egpo", (0.202286, 0.289223, 0.508491), (0.338118, 0.217929, 0.443953), EQUILIBRIUM),
        ("nash-mp", (0.225240, 0.240982, 0.533778), EQUILIBRIUM, EQUILIBRIUM),
        ("nash-prox", (0.292860, 0.204385, 0.502755), EQUILIBRIUM, EQUILIBRIUM),
    ],
)
def test_the_policies_after_1_100_and_1000_steps(name, first, hundred, end):
    policies = after(name, 1, 100, 1000)
    for policy, expected in zip(policies, (first, hundred, end), strict=True):
        assert policy == pytest.approx(expected, abs=1.1e-6)


def test_omwu_comes_to_the_nash_policy_of_the_game_itself():
    hundred, thousand = after("omwu", 100, 1000)
    assert hundred == pytest.approx((0.381558, 0.256384, 0.362058), abs=1e-6)
    assert thousand == pytest.approx(NASH, abs=1e-9)
    assert exploitability(PREFERENCE, thousand[None])[0] < 1e-10


def test_the_proximal_point_is_there_after_ten_steps():
    (policy,) = after("nash-prox", 10)
    solved = solve_regularized(PREFERENCE, REFERENCE, 0.1).policy
    assert kl(solved, policy[None])[0] < 1e-10


def test_magnetic_mirror_descent_is_inpos_equation_5():
    h, tau = 0.3, 0.1
    logits = np.log(REFERENCE)
    for _ in range(5):
        policy = np.exp(logits) / np.exp(logits).sum()
        rates = np.matmul(PREFERENCE, policy[..., None])[..., 0]
        logits = (logits + h * tau * np.log(REFERENCE) + h * rates) / (1 + h * tau)
    expected = np.exp(logits) / np.exp(logits).sum()
    eta = constant_eta(1 / h + tau)
    ours = mirror_descent(PREFERENCE, REFERENCE, eta=eta, tau=tau, record=[6]).last[0]
    np.testing.assert_allclose(ours, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("override", "message"),
    [("tau=0.0", "it is positive"), ("step=11.0", "at most 1 / tau"), ("rule=mwu", "rule")],
)
def test_constants_that_mean_nothing_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        build(load("dynamics", "egpo", (override,)))
