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
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats
from harness.statistics.student import two_sided
from harness.types import Estimate

LEVEL, STEPS = 0.05, 60
GRID = np.geomspace(1.0, 1e5, 300)
"""Degrees of freedom between which those of an interval are found."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """What seeds add to the error of contestants' figures, each field of shape (contestants,)."""

    variance: Floats
    """Of the mean over a contestant's seeds; 0 where there is one seed."""
    freedom: Floats
    """Degrees of freedom of that variance: seeds less one; 1 where the variance is 0."""

    @classmethod
    def of(cls, figures: Sequence[Sequence[float]]) -> Repeated:
        """Return what is known from each contestant's figures by seed."""
        many = [len(own) > 1 for own in figures]
        variance = [
            float(np.var(own, ddof=1)) / len(own) if m else 0.0
            for own, m in zip(figures, many, strict=True)
        ]
        return cls(np.array(variance), np.array([max(1, len(own) - 1) for own in figures], float))


def freedom(parts: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return with which degrees of freedom one t interval reaches as far as the parts together.

    Args:
        parts: (variance, its degrees of freedom), each of one shape; together above 0 somewhere.
    """
    whole = np.asarray(sum(variance for variance, _ in parts))
    reach = np.asarray(sum(variance * upper(own) ** 2 for variance, own in parts))
    ratio = np.sqrt(reach / np.where(whole > 0, whole, 1.0))
    return np.asarray(np.exp(np.interp(-ratio, -_ends(), np.log(GRID))))


def estimate(figures: Sequence[float], error: float, prompts: int) -> Estimate:
    """Return the mean over seeds with its 95 % interval.

    Args:
        figures: One a seed, two at least, in the figure's unit.
        error: The standard error of their mean over resampled prompts, seeds held.
        prompts: How many there are, two at least.
    """
    seeds = Repeated.of([figures])
    parts = [(np.array([error**2]), np.array([prompts - 1.0])), (seeds.variance, seeds.freedom)]
    whole = float(np.sqrt(sum(variance for variance, _ in parts))[0])
    reach = float(np.sqrt(sum(variance * upper(own) ** 2 for variance, own in parts))[0])
    value = float(np.mean(figures))
    return Estimate(value, value - reach, value + reach, whole)


@functools.cache
def _ends() -> Floats:
    return upper(GRID)


def upper(free: Floats) -> Floats:
    """Return the upper end of a 95 % interval of Student's t, for degrees of freedom from 1 on.

    Newton's steps from below: the tail is convex there, so that none goes too far.
    """
    found, places = np.unique(free, return_inverse=True)
    t = np.full(found.shape, 1.9)
    for _ in range(STEPS):
        step = (two_sided(t, found) - LEVEL) / (2 * _density(t, found))
        t = t + step
        if np.all(step <= 1e-14 * t):
            break
    return np.asarray(t[places].reshape(np.shape(free)))


def _density(t: Floats, free: Floats) -> Floats:
    whole = [
        math.lgamma((f + 1) / 2) - math.lgamma(f / 2) - math.log(f * math.pi) / 2 for f in free
    ]
    return np.asarray(np.exp(np.array(whole) - (free + 1) / 2 * np.log1p(t**2 / free)))
