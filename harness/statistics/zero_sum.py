"""Symmetric zero-sum games: win rates, exploitability, Nash policies, many games at once.

A game is a matrix of P(row ≻ column) whose diagonal is ½ and where P(i ≻ j) + P(j ≻ i) = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats

TOLERANCE = 1e-12
"""The residual, in nats, at which Newton's method stops."""
ROUNDING = 1e-15
"""Of a win rate: at a small τ the residual cannot fall below this, divided by τ."""
STEPS = 200


def softmax(logits: Floats) -> Floats:
    """Return the policies of logits, shape (..., actions)."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    policy: Floats = exponentials / exponentials.sum(-1, keepdims=True)
    return policy


def win_rates(preference: Floats, policy: Floats) -> Floats:
    """Return P(y ≻ π) of every action y, shape (..., actions)."""
    rates: Floats = np.matmul(preference, policy[..., None])[..., 0]
    return rates


def exploitability(preference: Floats, policy: Floats) -> Floats:
    """Return the best response's win rate against the policy, minus ½, shape (...)."""
    excess: Floats = win_rates(preference, policy).max(-1) - 0.5
    return excess


@dataclass(frozen=True, slots=True)
class NashPolicies:
    """The Nash policies of games, with the residuals that certify them."""

    policy: Floats
    """Shape (rows, actions)."""
    residual: Floats
    """Shape (rows,). Regularised: the largest distance, in nats, from the fixed point's equation.
    Original: the exploitability."""


def solve_regularized(
    preference: Floats, reference: Floats, tau: float, initial: Floats | None = None
) -> NashPolicies:
    """Solve log π = log π_ref + P(· ≻ π)/τ + const by damped Newton steps.

    With A = P − ½ antisymmetric and S the covariance of π's one-hot vectors, the Jacobian
    I − AS/τ has eigenvalues 1 + iω: it is never singular, and every Newton step is a descent step.

    Args:
        preference: P(row ≻ column), shape (rows, actions, actions).
        reference: π_ref, shape (rows, actions).
        tau: the weight of the KL term, above 0.
        initial: the policies to begin with, as logits, shape (rows, actions); None: π_ref.
    """
    skew, prior = preference - 0.5, np.log(reference)
    logits = (prior if initial is None else initial).copy()
    tolerance = max(TOLERANCE, ROUNDING / tau)
    active = np.arange(len(logits))
    for _ in range(STEPS):
        policy = softmax(logits[active])
        residual = logits[active] - prior[active] - win_rates(skew[active], policy) / tau
        unsolved = np.abs(residual).max(-1) > tolerance
        if not unsolved.any():
            break
        active, policy, residual = active[unsolved], policy[unsolved], residual[unsolved]
        covariance = policy[:, :, None] * (np.eye(policy.shape[1]) - policy[:, None, :])
        jacobian = np.eye(policy.shape[1]) - skew[active] @ covariance / tau
        try:
            step = np.linalg.solve(jacobian, residual[..., None])[..., 0]
        except np.linalg.LinAlgError:  # rounding, at a tiny τ: the residual shows it
            break
        logits[active] = _damped_update(
            skew[active], prior[active], tau, logits[active], step, residual
        )
    policy = softmax(logits)
    residual = logits - prior - win_rates(skew, policy) / tau
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
    policies = np.array([polish(matrix, _linear_program(matrix)) for matrix in preference])
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


def polish(preference: Floats, policy: Floats) -> Floats:
    """Return a policy that solves (P − ½)π = 0 on the given one's support, or that one if better.

    Of the solutions it is the nearest one; both policies have shape (actions,).
    """
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
