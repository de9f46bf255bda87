"""Nash policies of games, certified, and the distance of policies from them.

J(π, π') = P(π ≻ π') − τ KL(π ‖ π_ref) + τ KL(π' ‖ π_ref)    (arXiv 2407.00617, equation 3)

Policies and preferences may have any leading axes; KL is in nats.
"""

from __future__ import annotations

import numpy as np

from harness.errors import CheckError, ConfigError
from harness.statistics.resampling import Floats
from harness.statistics.zero_sum import (
    NashPolicies,
    exploitability,
    solve_original,
    solve_regularized,
    win_rates,
)


def kl(policy: Floats, other: Floats) -> Floats:
    """Return KL(policy ‖ other), shape (...); actions of probability 0 add nothing."""
    safe = np.where(policy > 0, policy, 1.0)
    divergence: Floats = (policy * (np.log(safe) - np.log(other))).sum(-1)
    return divergence


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
