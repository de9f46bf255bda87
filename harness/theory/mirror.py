"""Online mirror descent in closed form (arXiv 2407.00617, equation 5), over thousands of games.

π_{t+1}(y) ∝ exp(P(y ≻ π_t)/η) π_ref(y)^{τ/η} π_t(y)^{1 − τ/η}

With τ = 0 it is multiplicative weights, in the paper's table "INPO without KL".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import ConfigError
from harness.statistics.resampling import Floats
from harness.theory.measures import softmax, win_rates
from harness.types import Advance

StepSizes = Callable[[int], float]
"""η_t by t, counted from 1: the inverse step size."""
BLOCK = 512
"""Games worked on at once: their matrices stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What a run of the dynamics passed through."""

    iterations: Sequence[int]
    """The T of each record; 1 is the start."""
    last: Floats
    """π_T, shape (records, rows, actions)."""
    mixture: Floats
    """The mean of π_1 … π_T, shape (records, rows, actions)."""
    pull: Floats
    """The mean of KL(π_t ‖ π_ref) over t ≤ T, shape (records, rows)."""


def constant(eta: float) -> StepSizes:
    """Return the same η for every t."""
    return lambda _: eta


def shrinking(tau: float) -> StepSizes:
    """Return η_t = τ(t + 2)/2, theorem 4's."""
    return lambda t: tau * (t + 2) / 2


def omd_step(
    preference: Floats, policy: Floats, reference: Floats, *, eta: float, tau: float
) -> Floats:
    """Return π_{t+1}, shape (..., actions): equation 5, written for reading."""
    check_constants(eta, tau)
    kept = tau / eta * np.log(reference) + (1 - tau / eta) * np.log(policy)
    return softmax(win_rates(preference, policy) / eta + kept)


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
    """Run equation 5 from π_1 to π_T for the largest T of `record`, and keep what it names.

    Args:
        preference: P(i ≻ j), shape (rows, actions, actions).
        reference: π_ref, shape (rows, actions).
        eta: η_t.
        tau: τ.
        record: which T to keep, rising, from 1.
        start: π_1, shape (rows, actions); the reference where none is given.
        advance: told how many games are done.

    Raises:
        ConfigError: τ is negative or above an η_t.
    """
    begun = reference if start is None else start
    etas = [eta(t) for t in range(1, record[-1])]
    check_constants(min(etas, default=tau or 1.0), tau)
    rows, actions = reference.shape
    kept = np.empty((2, len(record), actions, rows))
    pull = np.empty((len(record), rows))
    for first in range(0, rows, BLOCK):
        block = slice(first, min(first + BLOCK, rows))
        matrix = np.ascontiguousarray(np.moveaxis(preference[block], 0, -1))
        found = kept[..., block], pull[:, block]
        _run(matrix, reference[block].T, begun[block].T, etas, tau, record, found)
        advance(block.stop - first)
    last, mixture = np.ascontiguousarray(np.moveaxis(kept, -1, 2))
    return Trajectory(record, last, mixture, pull)


def _run(
    matrix: Floats,
    reference: Floats,
    start: Floats,
    etas: Sequence[float],
    tau: float,
    record: Sequence[int],
    found: tuple[Floats, Floats],
) -> None:
    """Run a block, actions first and games last, so that every operation is on long rows."""
    kept, pull = found
    anchor, policy = np.log(reference), np.array(start)
    ratio = np.log(policy) - anchor  # log π_t/π_ref, up to a constant
    total, pulled = np.zeros_like(policy), np.zeros(policy.shape[1])
    level = (policy * ratio).sum(0)
    rates, ended = np.empty_like(policy), 0
    for k, end in enumerate(record):
        for t in range(ended + 1, end + 1):
            if t > 1:
                np.einsum("ijn,jn->in", matrix, policy, out=rates)
                ratio *= 1 - tau / etas[t - 2]
                ratio += rates / etas[t - 2]
                ratio -= ratio.max(0)
                np.exp(ratio + anchor, out=policy)
                mass = policy.sum(0)
                policy /= mass
                level = (policy * ratio).sum(0) - np.log(mass)
            total += policy
            pulled += level
        kept[0, k], kept[1, k], pull[k] = policy, total / end, pulled / end
        ended = end


def check_constants(eta: float, tau: float) -> None:
    """Check that the step is a mixture of the reference and the previous policy.

    Raises:
        ConfigError: τ is negative, or η is not positive or below τ.
    """
    if not tau >= 0:
        raise ConfigError(f"tau is {tau:g}: it must be 0 (no pull to the reference) or more")
    if not (eta > 0 and eta >= tau):
        raise ConfigError(f"eta is {eta:g}: it must be positive and at least tau ({tau:g})")
