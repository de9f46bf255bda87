"""Several seeds of one method: the mean of their figures, and how sure it is.

Two things vary: which prompts a benchmark has, and how a training comes out. The error of the mean
over S seeds is therefore made of two: that of the prompts, and s / sqrt(S) with s the standard
deviation of the seeds' figures. Each has its own reach, Student's t by its own degrees of freedom,
and the root of the sum of their squares is the interval's (Howe, JASA 69, 1974). Welch's and
Satterthwaite's degrees of freedom would cover the truth 88 to 93 times in 100 with two or three
seeds that vary more than the prompts; this covers it 95 to 99. What is chance within one training's
answers is in both parts, so that intervals err on the wide side.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.intervals import t_critical_values
from harness.statistics.resampling import Floats
from harness.types import Estimate

FREEDOM_GRID = np.geomspace(1.0, 1e5, 300)
"""Degrees of freedom between which those of an interval are found."""


@dataclass(frozen=True, slots=True)
class SeedVariance:
    """What seeds add to the error of contestants' figures, each field of shape (contestants,)."""

    variance: Floats
    """Of the mean over a contestant's seeds; 0 where there is one seed."""
    degrees_of_freedom: Floats
    """Degrees of freedom of that variance: seeds less one; 1 where the variance is 0."""

    @classmethod
    def of(cls, figures: Sequence[Sequence[float]]) -> SeedVariance:
        """Return what is known from each contestant's figures by seed."""
        has_several = [len(by_seed) > 1 for by_seed in figures]
        variance = [
            float(np.var(by_seed, ddof=1)) / len(by_seed) if m else 0.0
            for by_seed, m in zip(figures, has_several, strict=True)
        ]
        return cls(
            np.array(variance), np.array([max(1, len(by_seed) - 1) for by_seed in figures], float)
        )


def effective_degrees_of_freedom(components: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return with which degrees of freedom one t interval reaches as far as the parts together.

    Args:
        parts: (variance, its degrees of freedom), each of one shape; together above 0 somewhere.
    """
    total = np.asarray(sum(variance for variance, _ in components))
    squared_half_width = np.asarray(
        sum(variance * t_critical_values(degrees) ** 2 for variance, degrees in components)
    )
    ratio = np.sqrt(squared_half_width / np.where(total > 0, total, 1.0))
    return np.asarray(np.exp(np.interp(-ratio, -_grid_critical_values(), np.log(FREEDOM_GRID))))


def mean_over_seeds(figures: Sequence[float], error: float, prompts: int) -> Estimate:
    """Return the mean over seeds with its 95 % interval.

    Args:
        figures: One a seed, two at least, in the figure's unit.
        error: The standard error of their mean over resampled prompts, seeds held.
        prompts: How many there are, two at least.
    """
    seeds = SeedVariance.of([figures])
    components = [
        (np.array([error**2]), np.array([prompts - 1.0])),
        (seeds.variance, seeds.degrees_of_freedom),
    ]
    standard_error = float(np.sqrt(sum(variance for variance, _ in components))[0])
    half_width = float(
        np.sqrt(
            sum(variance * t_critical_values(degrees) ** 2 for variance, degrees in components)
        )[0]
    )
    value = float(np.mean(figures))
    return Estimate(value, value - half_width, value + half_width, standard_error)


@functools.cache
def _grid_critical_values() -> Floats:
    return t_critical_values(FREEDOM_GRID)
