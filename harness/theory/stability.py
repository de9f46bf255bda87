"""Whether the last iterate settles: the exact condition on a constant η, near the Nash policy.

With A = P − ½ and S = diag(π*) − π*π*ᵀ, equation 5 moves a small displacement of log π by
(1 − τ/η) I + A S/η. A S has the eigenvalues ±iω of an antisymmetric matrix, so that the largest
modulus is √((1 − τ/η)² + ρ²/η²) with ρ = max ω, which is below 1 just where η > (τ² + ρ²)/(2τ).

Theorem 4 (arXiv 2407.00617) promises a neighbourhood of the Nash policy for a constant η, and
convergence for η_t = τ(t + 2)/2, which passes this threshold in the end.
"""

from __future__ import annotations

import numpy as np

from harness.statistics.resampling import Floats


def rotation(preference: Floats, policy: Floats) -> Floats:
    """Return ρ, how fast best responses circle around the policy, shape (rows,).

    It is 0 where no response to the policy changes with it, and √3/6 ≈ 0.289 in
    rock-paper-scissors.
    """
    covariance = policy[..., :, None] * (np.eye(policy.shape[-1]) - policy[..., None, :])
    found: Floats = np.abs(np.linalg.eigvals((preference - 0.5) @ covariance)).max(-1)
    return found


def least_eta(rho: Floats, tau: float) -> Floats:
    """Return the η above which the last iterate settles, shape of ρ.

    It is below τ, so that every η of the method settles, where ρ < τ.
    """
    return (tau**2 + rho**2) / (2 * tau)
