"""The Nash policy of a game, certified: of the KL-regularised game, and of the original one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import CheckError, ConfigError
from harness.statistics.resampling import Floats
from harness.theory.measures import exploitability, softmax, win_rates

RESIDUAL = 1e-10
"""What a certified Nash policy's residual may be at most."""
STEPS = 200


@dataclass(frozen=True, slots=True)
class Nash:
    """The Nash policies of games, with the proof that they are."""

    policy: Floats
    """Shape (rows, actions)."""
    residual: Floats
    """Shape (rows,). Regularised: the largest distance, in nats, from the fixed point's equation.
    Original: the exploitability."""


def nash(preference: Floats, reference: Floats, tau: float) -> Nash:
    """Return the Nash policies of games, shapes (rows, actions, actions) and (rows, actions).

    Raises:
        ConfigError: τ is negative.
        CheckError: a residual is above 1e-10.
    """
    if not tau >= 0:
        raise ConfigError(f"tau is {tau:g}: it must be 0 (the original game) or more")
    found = regularised(preference, reference, tau) if tau else original(preference)
    worst = float(found.residual.max())
    if not worst <= RESIDUAL:
        raise CheckError(
            f"the Nash policy's residual is {worst:.1e}, above {RESIDUAL:g}: choose a larger tau"
        )
    return found


def regularised(preference: Floats, reference: Floats, tau: float) -> Nash:
    """Solve log π = log π_ref + P(· ≻ π)/τ + const by Newton's method with halved steps.

    With A = P − ½ antisymmetric and S the covariance of π's one-hot vectors, the Jacobian
    I − AS/τ has eigenvalues 1 + iω: it is never singular, and every Newton step is downhill.
    """
    skew, start = preference - 0.5, np.log(reference)
    logits = start.copy()
    for _ in range(STEPS):
        policy = softmax(logits)
        apart = logits - start - win_rates(skew, policy) / tau
        if np.abs(apart).max() <= RESIDUAL / 100:
            break
        covariance = policy[:, :, None] * (np.eye(policy.shape[1]) - policy[:, None, :])
        jacobian = np.eye(policy.shape[1]) - skew @ covariance / tau
        try:
            step = np.linalg.solve(jacobian, apart[..., None])[..., 0]
        except np.linalg.LinAlgError:  # rounding, at a tiny τ: the residual tells
            break
        logits = _shortened(skew, start, tau, logits, step, apart)
    policy = softmax(logits)
    apart = logits - start - win_rates(skew, policy) / tau
    return Nash(policy, np.ptp(apart, axis=-1) / 2)


def _shortened(
    skew: Floats, start: Floats, tau: float, logits: Floats, step: Floats, apart: Floats
) -> Floats:
    """Take each game's step, halved until the equation's error falls."""
    size, before = np.ones((len(logits), 1)), (apart**2).sum(-1)
    for _ in range(40):
        tried = logits - size * step
        error = tried - start - win_rates(skew, softmax(tried)) / tau
        worse = (error**2).sum(-1) > (1 - size[:, 0] / 4) * before
        if not worse.any():
            break
        size = np.where(worse[:, None], size / 2, size)
    return logits - size * step


def original(preference: Floats) -> Nash:
    """Solve each game's linear programme, then its support's equations to full precision."""
    policies = np.array([_polished(matrix, _programme(matrix)) for matrix in preference])
    return Nash(policies, np.maximum(exploitability(preference, policies), 0.0))


def _programme(preference: Floats) -> Floats:
    """Return a policy that no action beats: π ≥ 0, Σπ = 1, (P − ½)π ≤ 0."""
    from scipy.optimize import linprog

    actions = len(preference)
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(
        np.zeros(actions),
        A_ub=preference - 0.5,
        b_ub=np.zeros(actions),
        A_eq=np.ones((1, actions)),
        b_eq=[1.0],
        method="highs-ds",
        options=tight,
    )
    rough = np.clip(found.x, 0.0, None)
    policy: Floats = rough / rough.sum()
    return policy


def _polished(preference: Floats, policy: Floats) -> Floats:
    """Solve (P − ½)π = 0 on the support; keep the rough policy where that is no better."""
    support = policy > 1e-8
    inner = (preference - 0.5)[np.ix_(support, support)]
    system = np.vstack([inner, np.ones(support.sum())])
    target = np.append(np.zeros(support.sum()), 1.0)
    exact = np.zeros_like(policy)
    exact[support] = policy[support]
    exact[support] += np.linalg.lstsq(system, target - system @ policy[support], rcond=None)[0]
    exact = np.clip(exact, 0.0, None)
    exact /= exact.sum()
    better = exploitability(preference, exact) <= exploitability(preference, policy)
    return exact if better else policy
