"""Online mirror descent in closed form (arXiv 2407.00617, equation 5), over thousands of games.

π_{t+1}(y) ∝ exp(P(y ≻ π_t)/η) π_ref(y)^{τ/η} π_t(y)^{1 − τ/η}

With τ = 0 it is multiplicative weights, "INPO without KL" in the paper's table.

The Nash policy π* attracts what starts near it, for a constant η, where η is above a threshold.
With A = P − ½ and S = diag(π*) − π*π*ᵀ, equation 5 multiplies a small displacement of log π from π*
by (1 − τ/η) I + A S/η. A S has the eigenvalues ±iω of an antisymmetric matrix, so that the spectral
radius is √((1 − τ/η)² + ρ²/η²) with ρ = max ω, which is below 1 exactly where η > (τ² + ρ²)/(2τ).
The condition is local: from far away a run may end in a limit cycle beside π*, see `stability`.

Theorem 4 (arXiv 2407.00617) guarantees a neighbourhood of the Nash policy for a constant η, and
convergence for η_t = τ(t + 2)/2, which eventually exceeds this threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import ConfigError
from harness.statistics.resampling import Floats
from harness.statistics.zero_sum import softmax, win_rates
from harness.types import Advance

StepSizes = Callable[[int], float]
"""η_t as a function of t, counted from 1: the inverse step size."""
BLOCK = 512
"""Games per block, so that their matrices stay in the CPU's cache."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The recorded iterates of a run."""

    iterations: Sequence[int]
    """The recorded T, ascending; T = 1 is the start."""
    last: Floats
    """π_T, shape (records, rows, actions)."""
    mixture: Floats
    """The mean of π_1 … π_T, shape (records, rows, actions)."""
    pull: Floats
    """The mean of KL(π_t ‖ π_ref) over t ≤ T, shape (records, rows)."""


def constant_eta(eta: float) -> StepSizes:
    """Return the same η for every t."""
    return lambda _: eta


def shrinking_eta(tau: float) -> StepSizes:
    """Return theorem 4's η_t = τ(t + 2)/2."""
    return lambda t: tau * (t + 2) / 2


def omd_step(
    preference: Floats, policy: Floats, reference: Floats, *, eta: float, tau: float
) -> Floats:
    """Return π_{t+1}, shape (..., actions), by equation 5 as the paper writes it."""
    check_constants(eta, tau)
    anchored_logits = tau / eta * np.log(reference) + (1 - tau / eta) * np.log(policy)
    return softmax(win_rates(preference, policy) / eta + anchored_logits)


def mirror_descent(
    preference: Floats,
    reference: Floats,
    *,
    eta: StepSizes,
    tau: float,
    record: Sequence[int],
    start: Floats | None = None,
    advance: Advance = lambda _: None,
) -> Trajectory:
    """Run equation 5 from π_1 to π_T for the largest T in `record`, and keep the recorded iterates.

    Args:
        preference: P(i ≻ j), shape (rows, actions, actions).
        reference: π_ref, shape (rows, actions).
        eta: η_t.
        tau: τ.
        record: The T of the iterates to keep, ascending, from 1.
        start: π_1, shape (rows, actions); None: the reference.
        advance: Called with the number of games that are done.

    Raises:
        ConfigError: τ is negative or above an η_t.
    """
    initial = reference if start is None else start
    etas = [eta(t) for t in range(1, record[-1])]
    check_constants(min(etas, default=tau or 1.0), tau)
    rows, actions = reference.shape
    policies = np.empty((2, len(record), actions, rows))
    pull = np.empty((len(record), rows))
    for first in range(0, rows, BLOCK):
        block = slice(first, min(first + BLOCK, rows))
        matrix = np.ascontiguousarray(np.moveaxis(preference[block], 0, -1))
        outputs = policies[..., block], pull[:, block]
        _run(matrix, reference[block].T, initial[block].T, etas, tau, record, outputs)
        advance(block.stop - first)
    last, mixture = np.ascontiguousarray(np.moveaxis(policies, -1, 2))
    return Trajectory(record, last, mixture, pull)


def _run(
    matrix: Floats,
    reference: Floats,
    start: Floats,
    etas: Sequence[float],
    tau: float,
    record: Sequence[int],
    outputs: tuple[Floats, Floats],
) -> None:
    """Run a block, with actions first and games last, so that operations run over long rows."""
    policies, pull = outputs
    anchor, policy = np.log(reference), np.array(start)
    ratio = np.log(policy) - anchor  # log π_t/π_ref, up to a constant
    total, pull_total = np.zeros_like(policy), np.zeros(policy.shape[1])
    divergence = (policy * ratio).sum(0)
    rates, completed = np.empty_like(policy), 0
    for k, end in enumerate(record):
        for t in range(completed + 1, end + 1):
            if t > 1:
                np.einsum("ijn,jn->in", matrix, policy, out=rates)
                ratio *= 1 - tau / etas[t - 2]
                ratio += rates / etas[t - 2]
                ratio -= ratio.max(0)
                np.exp(ratio + anchor, out=policy)
                mass = policy.sum(0)
                policy /= mass
                divergence = (policy * ratio).sum(0) - np.log(mass)
            total += policy
            pull_total += divergence
        policies[0, k], policies[1, k], pull[k] = policy, total / end, pull_total / end
        completed = end


def check_constants(eta: float, tau: float) -> None:
    """Check that the step mixes the reference and the previous policy with weights in [0, 1].

    Raises:
        ConfigError: τ is negative, or η is not positive or below τ.
    """
    if not tau >= 0:
        raise ConfigError(f"tau is {tau:g}: it must be 0 (no pull to the reference) or more")
    if not (eta > 0 and eta >= tau):
        raise ConfigError(f"eta is {eta:g}: it must be positive and at least tau ({tau:g})")


def rotation(preference: Floats, policy: Floats) -> Floats:
    """Return ρ, the rotation of the dynamics around the policy, shape (rows,).

    It is 0 where win rates do not change with the policy, and √3/6 ≈ 0.289 in
    rock-paper-scissors at its Nash policy.
    """
    covariance = policy[..., :, None] * (np.eye(policy.shape[-1]) - policy[..., None, :])
    rho: Floats = np.abs(np.linalg.eigvals((preference - 0.5) @ covariance)).max(-1)
    return rho


def min_stable_eta(rho: Floats, tau: float) -> Floats:
    """Return the η above which the last iterate converges from near the Nash policy, in ρ's shape.

    Where ρ < τ it is below τ, so that every admissible η converges.
    """
    return (tau**2 + rho**2) / (2 * tau)
