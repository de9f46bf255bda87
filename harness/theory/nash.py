"""Nash policies of games, certified, and the distance of policies from them.

J(π, π') = P(π ≻ π') − τ KL(π ‖ π_ref) + τ KL(π' ‖ π_ref)    (arXiv 2407.00617, equation 3)

Policies and preferences may have any leading axes; KL is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import CheckError, ConfigError
from harness.statistics.resampling import Floats


def softmax(logits: Floats) -> Floats:
    """Return the policies of logits, shape (..., actions)."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    policy: Floats = exponentials / exponentials.sum(-1, keepdims=True)
    return policy


def win_rates(preference: Floats, policy: Floats) -> Floats:
    """Return P(y ≻ π) of every action y, shape (..., actions)."""
    rates: Floats = np.matmul(preference, policy[..., None])[..., 0]
    return rates


def kl(policy: Floats, other: Floats) -> Floats:
    """Return KL(policy ‖ other), shape (...); actions of probability 0 add nothing."""
    safe = np.where(policy > 0, policy, 1.0)
    divergence: Floats = (policy * (np.log(safe) - np.log(other))).sum(-1)
    return divergence


def exploitability(preference: Floats, policy: Floats) -> Floats:
    """Return the best response's win rate against the policy, minus ½, shape (...)."""
    excess: Floats = win_rates(preference, policy).max(-1) - 0.5
    return excess


def duality_gap(preference: Floats, policy: Floats, reference: Floats, tau: float) -> Floats:
    """Return max J(·, π) − min J(π, ·), shape (...); with τ = 0 twice the exploitability.

    The best response is π_ref(y) exp(P(y ≻ π)/τ) / Z, so that the maximum is
    τ log Z + τ KL(π ‖ π_ref); because J(π, π') = 1 − J(π', π), the minimum is 1 minus it.
    """
    if tau == 0:
        return 2 * exploitability(preference, policy)
    best = best_response_value(preference, policy, reference, tau) + tau * kl(policy, reference)
    gap: Floats = 2 * (best - 0.5)
    return gap


def best_response_value(
    preference: Floats, policy: Floats, reference: Floats, tau: float
) -> Floats:
    """Return max over π' of P(π' ≻ π) − τ KL(π' ‖ π_ref), which is τ log Z, shape (...)."""
    if tau == 0:
        best: Floats = win_rates(preference, policy).max(-1)
        return best
    logits = np.log(reference) + win_rates(preference, policy) / tau
    top = logits.max(-1)
    log_partition: Floats = tau * (top + np.log(np.exp(logits - top[..., None]).sum(-1)))
    return log_partition


MAX_RESIDUAL = 1e-10
"""The largest residual of a certified Nash policy."""
STEPS = 200


@dataclass(frozen=True, slots=True)
class NashPolicies:
    """The Nash policies of games, with the residuals that certify them."""

    policy: Floats
    """Shape (rows, actions)."""
    residual: Floats
    """Shape (rows,). Regularised: the largest distance, in nats, from the fixed point's equation.
    Original: the exploitability."""


def solve_nash(preference: Floats, reference: Floats, tau: float) -> NashPolicies:
    """Return the Nash policies of games, shapes (rows, actions, actions) and (rows, actions).

    Raises:
        ConfigError: τ is negative.
        CheckError: a residual is above 1e-10.
    """
    if not tau >= 0:
        raise ConfigError(f"tau is {tau:g}: it must be 0 (the original game) or more")
    solution = solve_regularized(preference, reference, tau) if tau else solve_original(preference)
    worst = float(solution.residual.max())
    if not worst <= MAX_RESIDUAL:
        raise CheckError(
            f"the Nash policy's residual is {worst:.1e}, above {MAX_RESIDUAL:g}: "
            "choose a larger tau"
        )
    return solution


def solve_regularized(preference: Floats, reference: Floats, tau: float) -> NashPolicies:
    """Solve log π = log π_ref + P(· ≻ π)/τ + const by damped Newton steps.

    With A = P − ½ antisymmetric and S the covariance of π's one-hot vectors, the Jacobian
    I − AS/τ has eigenvalues 1 + iω: it is never singular, and every Newton step is a descent step.
    """
    skew, start = preference - 0.5, np.log(reference)
    logits = start.copy()
    for _ in range(STEPS):
        policy = softmax(logits)
        residual = logits - start - win_rates(skew, policy) / tau
        if np.abs(residual).max() <= MAX_RESIDUAL / 100:
            break
        covariance = policy[:, :, None] * (np.eye(policy.shape[1]) - policy[:, None, :])
        jacobian = np.eye(policy.shape[1]) - skew @ covariance / tau
        try:
            step = np.linalg.solve(jacobian, residual[..., None])[..., 0]
        except np.linalg.LinAlgError:  # rounding, at a tiny τ: the residual shows it
            break
        logits = _damped_update(skew, start, tau, logits, step, residual)
    policy = softmax(logits)
    residual = logits - start - win_rates(skew, policy) / tau
    return NashPolicies(policy, np.ptp(residual, axis=-1) / 2)


def _damped_update(
    skew: Floats, start: Floats, tau: float, logits: Floats, step: Floats, residual: Floats
) -> Floats:
    """Take each game's step, halved until the residual falls."""
    size, previous_error = np.ones((len(logits), 1)), (residual**2).sum(-1)
    for _ in range(40):
        candidate = logits - size * step
        error = candidate - start - win_rates(skew, softmax(candidate)) / tau
        is_worse = (error**2).sum(-1) > (1 - size[:, 0] / 4) * previous_error
        if not is_worse.any():
            break
        size = np.where(is_worse[:, None], size / 2, size)
    return logits - size * step


def solve_original(preference: Floats) -> NashPolicies:
    """Solve each game's linear program, then the equations on its support to full precision."""
    policies = np.array([_polish(matrix, _linear_program(matrix)) for matrix in preference])
    return NashPolicies(policies, np.maximum(exploitability(preference, policies), 0.0))


def _linear_program(preference: Floats) -> Floats:
    """Return a policy that no action beats: π ≥ 0, Σπ = 1, (P − ½)π ≤ 0."""
    from scipy.optimize import linprog

    actions = len(preference)
    tolerances = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    result = linprog(
        np.zeros(actions),
        A_ub=preference - 0.5,
        b_ub=np.zeros(actions),
        A_eq=np.ones((1, actions)),
        b_eq=[1.0],
        method="highs-ds",
        options=tolerances,
    )
    clipped = np.clip(result.x, 0.0, None)
    policy: Floats = clipped / clipped.sum()
    return policy


def _polish(preference: Floats, policy: Floats) -> Floats:
    """Solve (P − ½)π = 0 on the support; keep the given policy unless that is at least as good."""
    support = policy > 1e-8
    inner = (preference - 0.5)[np.ix_(support, support)]
    system = np.vstack([inner, np.ones(support.sum())])
    target = np.append(np.zeros(support.sum()), 1.0)
    refined = np.zeros_like(policy)
    refined[support] = policy[support]
    refined[support] += np.linalg.lstsq(system, target - system @ policy[support], rcond=None)[0]
    refined = np.clip(refined, 0.0, None)
    refined /= refined.sum()
    better = exploitability(preference, refined) <= exploitability(preference, policy)
    return refined if better else policy
