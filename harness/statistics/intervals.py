"""Quantiles of the normal and of Student's t distribution, and intervals in closed form.

scipy.special takes a quarter of a second to import, so that the functions that need it import it:
`harness leaderboard` prints most of its tables without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.statistics.resampling import Floats
from harness.types import Estimate

PERCENTILE_LEVELS = (0.025, 0.975)
"""The ends of a 95 % interval."""


def normal_cdf(z: Floats | float) -> Floats:
    """Return P(Z <= z), elementwise."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def normal_quantile(p: float) -> float:
    """Return the z with P(Z <= z) = p, 0 < p < 1."""
    from scipy.special import ndtri

    return float(ndtri(p))


def t_two_sided(t: Floats, degrees_of_freedom: Floats) -> Floats:
    """Return P(|T| >= |t|), elementwise, for positive degrees of freedom; 0 where t is infinite."""
    from scipy.special import stdtr

    return np.asarray(2 * stdtr(degrees_of_freedom, -np.abs(t)))


def t_critical(degrees_of_freedom: Floats | float) -> Floats:
    """Return the upper end of a 95 % interval of Student's t, elementwise."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees_of_freedom, PERCENTILE_LEVELS[1]))


def normal_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of `values`, one at least, with a normal 95 % interval, in their unit."""
    count, value = len(values), sum(values) / len(values)
    variance = sum((v - value) ** 2 for v in values) / max(1, count - 1)
    error = math.sqrt(variance / count)
    half_width = normal_quantile(PERCENTILE_LEVELS[1]) * error
    return Estimate(value, value - half_width, value + half_width, error)


def wilson_interval(successes: int, trials: int) -> Estimate:
    """Return a share of one trial or more with Wilson's 95 % interval (JASA 22, 1927)."""
    share, z = successes / trials, normal_quantile(PERCENTILE_LEVELS[1])
    square = z**2
    center = (share + square / (2 * trials)) / (1 + square / trials)
    root = math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    half_width = z * root / (1 + square / trials)
    return Estimate(share, max(0.0, center - half_width), min(1.0, center + half_width))


def to_percent(share: Estimate) -> Estimate:
    """Return an estimate of a share as an estimate in percent."""
    low, high, error = (
        None if value is None else 100 * value
        for value in (share.low, share.high, share.standard_error)
    )
    return Estimate(100 * share.value, low, high, error)
