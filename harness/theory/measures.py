"""How far policies are from a game's solution; all arrays have any leading axes, figures in nats.

J(π, π') = P(π ≻ π') − τ KL(π ‖ π_ref) + τ KL(π' ‖ π_ref)    (arXiv 2407.00617, equation 3)
"""

from __future__ import annotations

import numpy as np

from harness.statistics.resampling import Floats


def softmax(logits: Floats) -> Floats:
    """Return the policies of logits, shape (..., actions)."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    found: Floats = raised / raised.sum(-1, keepdims=True)
    return found


def win_rates(preference: Floats, policy: Floats) -> Floats:
    """Return P(y ≻ π) of every action y, shape (..., actions)."""
    found: Floats = np.matmul(preference, policy[..., None])[..., 0]
    return found


def kl(policy: Floats, other: Floats) -> Floats:
    """Return KL(policy ‖ other), shape (...); an action that `policy` never takes adds nothing."""
    safe = np.where(policy > 0, policy, 1.0)
    found: Floats = (policy * (np.log(safe) - np.log(other))).sum(-1)
    return found


def exploitability(preference: Floats, policy: Floats) -> Floats:
    """Return how much more than a half the best response wins against the policy, shape (...)."""
    found: Floats = win_rates(preference, policy).max(-1) - 0.5
    return found


def duality_gap(preference: Floats, policy: Floats, reference: Floats, tau: float) -> Floats:
    """Return max J(·, π) − min J(π, ·), shape (...); with τ = 0 twice the exploitability.

    The best response is π_ref(y) exp(P(y ≻ π)/τ) / Z, which makes the maximum
    τ log Z + τ KL(π ‖ π_ref); J(π, π') = 1 − J(π', π) makes the minimum one minus it.
    """
    if tau == 0:
        return 2 * exploitability(preference, policy)
    best = value(preference, policy, reference, tau) + tau * kl(policy, reference)
    found: Floats = 2 * (best - 0.5)
    return found


def value(preference: Floats, policy: Floats, reference: Floats, tau: float) -> Floats:
    """Return max over π' of P(π' ≻ π) − τ KL(π' ‖ π_ref), which is τ log Z, shape (...)."""
    if tau == 0:
        most: Floats = win_rates(preference, policy).max(-1)
        return most
    logits = np.log(reference) + win_rates(preference, policy) / tau
    top = logits.max(-1)
    found: Floats = tau * (top + np.log(np.exp(logits - top[..., None]).sum(-1)))
    return found
