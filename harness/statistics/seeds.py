"""The mean over several training seeds of one method, with its uncertainty.

Two things vary: the sample of prompts and the outcome of training. The variance of the mean over S
seeds therefore has two components: that of the prompts, and s² / S with s the standard deviation
between seeds. Each component has a half-width of its own (Student's t with its own degrees of
freedom), and the half-width of the interval is the root of the sum of their squares (Howe, JASA 69,
1974); it is laid off on the logit scale, so that the interval of a bounded figure stays within its
bounds. Welch's and Satterthwaite's degrees of freedom would cover the truth 88 to 93 times in 100
with two or three seeds that vary more than the prompts; this interval covers it 95 to 99 times.
The noise of single answers is in both components, as it is in both margins of any table of prompts
by seeds; it is estimated from what neither margin explains, and counted once. No interval is
narrower than that over prompts alone. A contestant with a single seed shows nothing of its variance
between seeds: it is taken from the contestants of several seeds, pooled on the logit scale.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.intervals import PERCENT, Bounds, t_critical
from harness.statistics.resampling import Floats
from harness.types import Estimate

LARGEST_LOGIT = 30.0
"""Beyond it an interval's end is the bound itself, to the last digit."""
EDGE = 1e-3
"""A share nearer to 0 or 1 counts as this far from it, where a logit's derivative is needed."""
FREEDOM_GRID = np.geomspace(1.0, 1e5, 300)
"""Degrees of freedom between which those of a combined interval are interpolated."""


@dataclass(frozen=True, slots=True)
class SeedVariance:
    """The variance that seeds add to contestants' estimates, each field of shape (contestants,)."""

    variance: Floats
    """Variance of the mean over a contestant's seeds; 0 where none varies, NaN where not known."""
    degrees_of_freedom: Floats
    """Degrees of freedom of that variance: seeds less one, or those of the pooled variance."""
    noise: Floats
    """The part of that variance which the variance over prompts holds as well; see `noise_of`."""

    @classmethod
    def of(
        cls,
        estimates: Sequence[Sequence[float]],
        is_seeded: Sequence[bool] | None = None,
        bounds: Bounds = PERCENT,
        noise: Sequence[float] | None = None,
    ) -> SeedVariance:
        """Return the variances of the contestants.

        Args:
            estimates: By contestant: the estimate of each of its seeds.
            is_seeded: Whether another seed could have given another estimate; answers from a file
                have no seed. None: all are seeded.
            bounds: The lowest and the highest value of an estimate.
            noise: By contestant: `noise_of` its seeds; not read of a single seed. None: not known,
                and counted twice.
        """
        seeded = [True] * len(estimates) if is_seeded is None else is_seeded
        shared = [0.0] * len(estimates) if noise is None else noise
        pooled, pooled_noise, freedom = _pooled_logit_variance(estimates, shared, bounds)
        rows = []
        for own, may_vary, own_noise in zip(estimates, seeded, shared, strict=True):
            if len(own) > 1:
                rows.append((float(np.var(own, ddof=1)) / len(own), len(own) - 1.0, own_noise))
            else:
                scale = 1 / logit_slope(own[0], bounds) ** 2 if may_vary else 0.0
                rows.append((pooled * scale if may_vary else 0.0, freedom, pooled_noise * scale))
        return cls(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)


def noise_of(contributions: Floats) -> float:
    """Return the variance of a mean over prompts and seeds that single answers' noise is.

    The mean square of what neither the prompt nor the seed explains, over the number of answers:
    the interaction of a two-way table without replicates.

    Args:
        contributions: What each answer contributes to its seed's estimate, in the estimate's unit,
            shape (seeds, prompts).

    Returns:
        0 with fewer than two seeds or prompts.
    """
    seeds, prompts = contributions.shape
    if seeds < 2 or prompts < 2:
        return 0.0
    by_seed = contributions.mean(axis=1, keepdims=True)
    by_prompt = contributions.mean(axis=0, keepdims=True)
    left = contributions - by_seed - by_prompt + contributions.mean()
    mean_square = float(np.sum(left**2)) / ((seeds - 1) * (prompts - 1))
    return float(mean_square / (seeds * prompts))


def effective_degrees_of_freedom(components: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return the effective degrees of freedom of the combined interval, in the components' shape.

    Args:
        components: Pairs of a variance and its degrees of freedom, all of one shape.
    """
    total = np.asarray(sum(variance for variance, _ in components))
    squared_half_width = np.asarray(
        sum(variance * t_critical(degrees) ** 2 for variance, degrees in components)
    )
    ratio = np.sqrt(squared_half_width / np.where(total > 0, total, 1.0))
    return np.asarray(np.exp(np.interp(-ratio, -_grid_critical_values(), np.log(FREEDOM_GRID))))


def mean_over_seeds(
    estimates: Sequence[float],
    error: float,
    prompts: int,
    bounds: Bounds = PERCENT,
    noise: float = 0.0,
) -> Estimate:
    """Return the mean over seeds with its 95 % interval, which lies within the bounds.

    Args:
        estimates: One per seed, two at least, in their unit.
        error: Standard error of their mean over resampled prompts, seeds held fixed.
        prompts: Number of prompts, two at least.
        bounds: The lowest and the highest value of an estimate.
        noise: `noise_of` the seeds, the part of both variances that is one.
    """
    seeds = SeedVariance.of([estimates])
    by_prompt, freedom = max(0.0, error**2 - noise), prompts - 1.0
    between, seed_freedom = float(seeds.variance[0]), float(seeds.degrees_of_freedom[0])
    standard_error = max(error, float(np.sqrt(by_prompt + between)))
    critical, seed_critical = float(t_critical(freedom)), float(t_critical(seed_freedom))
    combined = float(np.sqrt(by_prompt * critical**2 + between * seed_critical**2))
    half_width = max(error * critical, combined)
    value = float(np.mean(estimates))
    return Estimate(value, *logit_bounds(value, half_width, bounds), standard_error)


def logit_bounds(value: float, half_width: float, bounds: Bounds) -> tuple[float, float]:
    """Return the ends of an interval that is symmetric on the logit scale.

    Args:
        value: The estimate.
        half_width: Half the interval's width to first order, in the estimate's unit.
        bounds: The lowest and the highest value; an estimate at one of them has no logit, and its
            interval is the half-width within the bounds.
    """
    lowest, highest = bounds
    if not lowest < value < highest:
        return max(lowest, value - half_width), min(highest, value + half_width)
    odds = (value - lowest) / (highest - value)
    factor = np.exp(np.minimum(half_width * logit_slope(value, bounds), LARGEST_LOGIT))
    shares = [float(o / (1 + o)) for o in (odds / factor, odds * factor)]
    return lowest + (highest - lowest) * shares[0], lowest + (highest - lowest) * shares[1]


def logit_slope(value: float, bounds: Bounds) -> float:
    """Return the derivative of the logit with respect to the estimate."""
    lowest, highest = bounds
    share = min(max((value - lowest) / (highest - lowest), EDGE), 1 - EDGE)
    return float(1 / (share * (1 - share) * (highest - lowest)))


def _pooled_logit_variance(
    estimates: Sequence[Sequence[float]], noise: Sequence[float], bounds: Bounds
) -> tuple[float, float, float]:
    """Return one seed's variance in squared logits, the noise in it, and its degrees of freedom.

    NaN where no contestant has several seeds.
    """
    several = [pair for pair in zip(estimates, noise, strict=True) if len(pair[0]) > 1]
    freedom = sum(len(own) - 1 for own, _ in several)
    if not freedom:
        return np.nan, 0.0, 1.0
    squares = shared = 0.0
    for own, own_noise in several:
        scale = (len(own) - 1) * logit_slope(float(np.mean(own)), bounds) ** 2
        squares += scale * float(np.var(own, ddof=1))
        shared += scale * len(own) * own_noise
    return squares / freedom, shared / freedom, float(freedom)


@functools.cache
def _grid_critical_values() -> Floats:
    return t_critical(FREEDOM_GRID)
