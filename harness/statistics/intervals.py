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
Bounds = tuple[float, float]
"""The lowest and the highest value that an item can have."""
SHARE: Bounds = (0.0, 1.0)
PERCENT: Bounds = (0.0, 100.0)


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


def exact_bounds(shares: Floats) -> tuple[float, float]:
    """Return the ends of a 95 % interval of the mean of shares, however few items disagree.

    With outcomes of 0 and 1 it is Clopper and Pearson's (Biometrika 26, 1934). In general it is the
    interval of Gaffke, in the form of Learned-Miller and Thomas (arXiv 1905.06208): the quantiles
    of a Bayesian bootstrap with one more item, at 0 for the lower end and at 1 for the upper one.
    The weighted mean of such a bootstrap is taken as a beta variable of the same mean and variance,
    which it is exactly where all items are 0 or 1. Items that vary less than outcomes of 0 and 1
    count for more than one each, dependent ones for less, as in Korn and Graubard's interval for
    surveys (Survey Methodology 24, 1998).

    Args:
        shares: Independent items in [0, 1], or the contributions of items to an estimate that is
            not a mean (their mean is the estimate, and they may lie outside); shape (items,), one
            item at least.
    """
    mean, variance = float(np.clip(shares.mean(), 0, 1)), float(shares.var())
    low, high = (_exact_upper_end(side, variance, len(shares)) for side in (1 - mean, mean))
    return 1 - low, high


def _exact_upper_end(mean: float, variance: float, count: int) -> float:
    from scipy.special import betaincinv

    shifted = (count * mean + 1) / (count + 1)
    square = (count * (variance + mean**2) + 1) / (count + 1)
    spread = (square - shifted**2) / (count + 2)
    size = shifted * (1 - shifted) / spread - 1 if spread > 0 else 0.0
    if size <= 0:
        return 1.0
    return float(betaincinv(shifted * size, (1 - shifted) * size, PERCENTILE_LEVELS[1]))


def widen_to_exact(estimate: Estimate, contributions: Floats, bounds: Bounds = SHARE) -> Estimate:
    """Return an estimate whose interval holds that of `exact_bounds`.

    Where all items agree, or all but few, a bootstrap or a normal interval is far too narrow: no
    resample holds what the sample does not. An estimate outside the bounds is returned unchanged.

    Args:
        estimate: A mean, or what `contributions` add up to, with or without an interval.
        contributions: Each item's contribution, in the estimate's unit, shape (items,).
        bounds: The lowest and the highest value that an item can have.
    """
    lowest, highest = bounds
    if not lowest <= estimate.value <= highest:
        return estimate
    scale = highest - lowest
    ends = exact_bounds((contributions - lowest) / scale)
    low, high = (lowest + scale * end for end in ends)
    return Estimate(
        estimate.value,
        low if estimate.low is None else min(estimate.low, low),
        high if estimate.high is None else max(estimate.high, high),
        estimate.standard_error,
    )


def to_percent(share: Estimate) -> Estimate:
    """Return an estimate of a share as an estimate in percent."""
    low, high, error = (
        None if value is None else 100 * value
        for value in (share.low, share.high, share.standard_error)
    )
    return Estimate(100 * share.value, low, high, error)
