"""Nash averaging over a pool: the maximum-entropy Nash mixture, values against it, exploitability.

The game is P − ½, with P(i ≻ j) from a tournament (Balduzzi et al., arXiv 1806.02643, who take the
log-odds instead: a win rate is what the papers of preference optimisation play for). A pool often
has several Nash mixtures, of ties and of copies; that of the largest entropy is the only one which
neither their order nor a solver decides. It is the limit, as τ goes to 0, of the Nash policies of
the game with the penalty τ KL(π ‖ uniform), which are followed from a large τ down to a small one.
"""

from __future__ import annotations

import numpy as np

from harness.statistics.resampling import Floats
from harness.statistics.zero_sum import (
    exploitability,
    polish,
    solve_original,
    solve_regularized,
    win_rates,
)

FIRST_TAU, REPLICATE_TAU, LAST_TAU = 0.5, 1e-5, 1e-6
SHRINKAGE = 0.25
"""The ratio of successive τ."""
PRECISION = 2e-4
"""How far from ½ a win rate against a mixture of resamples may be where it is ½."""
MAX_RESIDUAL = 0.1
"""In nats: a path that ends farther from a solution was lost on the way."""
EXACT = 1e-10
"""The exploitability, as a win rate, of a mixture that counts as a Nash mixture."""


def nash_mixture(preference: Floats) -> Floats:
    """Return the maximum-entropy Nash mixture of one game, shape (contestants,).

    Args:
        preference: P(row ≻ column), shape (contestants, contestants), its diagonal ½.
    """
    game = preference[None]
    near, end = (_follow(game, tau) for tau in (2 * LAST_TAU, LAST_TAU))
    limit = np.clip(2 * end - near, 0.0, None)  # the distance from the limit is linear in τ
    candidates = [polish(preference, mixture / mixture.sum()) for mixture in (*limit, *end)]
    exact = [c for c in candidates if exploitability(preference, c) <= EXACT]
    return exact[0] if exact else solve_original(game).policy[0]


def nash_mixtures(preference: Floats) -> Floats:
    """Return the Nash mixtures of many games, within `PRECISION`, shape (games, contestants).

    For resamples, whose spread is far larger than that; `nash_mixture` is exact.

    Args:
        preference: P(row ≻ column), shape (games, contestants, contestants).
    """
    return _follow(preference, REPLICATE_TAU)


def _follow(preference: Floats, last: float) -> Floats:
    """Return the Nash mixtures at the penalty `last`; of a path that was lost, without penalty."""
    uniform = np.full(preference.shape[:2], 1 / preference.shape[-1])
    logits, tau = None, FIRST_TAU
    while True:
        solution = solve_regularized(preference, uniform, tau, logits)
        if tau <= last:
            break
        logits = np.log(uniform) + win_rates(preference - 0.5, solution.policy) / tau
        tau = max(tau * SHRINKAGE, last)
    lost = solution.residual > MAX_RESIDUAL
    mixtures = solution.policy
    if lost.any():
        mixtures[lost] = solve_original(preference[lost]).policy
    return mixtures


def pool_exploitability(preference: Floats) -> Floats:
    """Return max over j of P(j ≻ i) − ½, at least 0, shape (..., contestants).

    Args:
        preference: P(row ≻ column), shape (..., contestants, contestants), its diagonal ½.
    """
    return np.asarray(preference.max(axis=-2) - 0.5)
