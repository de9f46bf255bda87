"""The mean over several training seeds of one method, with its uncertainty.

Two things vary: the sample of prompts and the outcome of training. The variance of the mean over S
seeds therefore has two components: that of the prompts, and s² / S with s the standard deviation
between seeds. Each component has a half-width of its own (Student's t with its own degrees of
freedom), and the half-width of the interval is the root of the sum of their squares (Howe, JASA 69,
1974). Welch's and Satterthwaite's degrees of freedom would cover the truth 88 to 93 times in 100
with two or three seeds that vary more than the prompts; this interval covers it 95 to 99 times.
Sampling noise within one training's answers enters both components, so that intervals err on the
wide side.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.intervals import t_critical
from harness.statistics.resampling import Floats
from harness.types import Estimate

FREEDOM_GRID = np.geomspace(1.0, 1e5, 300)
"""Degrees of freedom between which those of a combined interval are interpolated."""


@dataclass(frozen=True, slots=True)
class SeedVariance:
    """The variance that seeds add to contestants' estimates, each field of shape (contestants,)."""

    variance: Floats
    """Variance of the mean over a contestant's seeds; 0 with a single seed."""
    degrees_of_freedom: Floats
    """Degrees of freedom of that variance: seeds less one; 1 with a single seed."""

    @classmethod
    def of(cls, estimates: Sequence[Sequence[float]]) -> SeedVariance:
        """Return the variances of the contestants, given the estimate of each of their seeds."""
        variance = [
            float(np.var(by_seed, ddof=1)) / len(by_seed) if len(by_seed) > 1 else 0.0
            for by_seed in estimates
        ]
        degrees_of_freedom = [max(1.0, len(by_seed) - 1.0) for by_seed in estimates]
        return cls(np.array(variance), np.array(degrees_of_freedom))


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


def mean_over_seeds(estimates: Sequence[float], error: float, prompts: int) -> Estimate:
    """Return the mean over seeds with its 95 % interval.

    Args:
        estimates: One per seed, two at least, in their unit.
        error: Standard error of their mean over resampled prompts, seeds held fixed.
        prompts: Number of prompts, two at least.
    """
    seeds = SeedVariance.of([estimates])
    components = [
        (np.array([error**2]), np.array([prompts - 1.0])),
        (seeds.variance, seeds.degrees_of_freedom),
    ]
    standard_error = float(np.sqrt(sum(variance for variance, _ in components))[0])
    half_width = float(
        np.sqrt(sum(variance * t_critical(degrees) ** 2 for variance, degrees in components))[0]
    )
    value = float(np.mean(estimates))
    return Estimate(value, value - half_width, value + half_width, standard_error)


@functools.cache
def _grid_critical_values() -> Floats:
    return t_critical(FREEDOM_GRID)
