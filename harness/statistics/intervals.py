"""The normal distribution, for a few numbers: `statistics` takes longer to import than to use.

Student's t by numpy alone: scipy.special takes a quarter of the leaderboard's time to import.

The two-sided tail is the regularised incomplete beta function I_x(ν / 2, 1 / 2) at
x = ν / (ν + t²), by its continued fraction (DLMF 8.17.22), turned round where that is the faster.
"""

from __future__ import annotations

import math

import numpy as np

from harness.statistics.resampling import Floats
from harness.types import Estimate

EXPANSION_FREEDOM = 40
"""Degrees of freedom from which on Student's t is taken from its expansion."""


MAX_Z, BISECTIONS = 40.0, 100


PERCENTILE_LEVELS = (0.025, 0.975)
"""The ends of a 95 % interval."""
SIGNIFICANCE, NEWTON_STEPS = 0.05, 60


def normal_cdf(z: float) -> float:
    """Return P(Z <= z)."""
    return math.erfc(-z / math.sqrt(2)) / 2


def normal_quantile(p: float) -> float:
    """Return the z that a share p lies below, 0 < p < 1, to the last bit or two."""
    low, high = -MAX_Z, MAX_Z
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if normal_cdf(middle) < p else (low, middle)
    return (low + high) / 2


TERMS = 200
TINY, LARGE = 1e-300, 1e150


def t_two_sided(t: Floats, degrees_of_freedom: Floats) -> Floats:
    """Return P(|T| >= |t|), elementwise, for positive degrees of freedom; 0 where t is infinite."""
    a = degrees_of_freedom / 2
    x = 1 / (1 + np.minimum(np.abs(t), LARGE) ** 2 / degrees_of_freedom)
    mirrored = x > (a + 1) / (a + 2.5)
    tail = _incomplete_beta(
        np.where(mirrored, 0.5, a), np.where(mirrored, a, 0.5), np.where(mirrored, 1 - x, x)
    )
    return np.asarray(np.where(mirrored, 1 - tail, tail))


def _incomplete_beta(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return I_x(a, b) for x below (a + 1) / (a + b + 2)."""
    log_prefactor = a * np.log(np.maximum(x, TINY)) + b * np.log1p(-x) - _log_beta(a, b) - np.log(a)
    c, d = np.ones_like(x), 1 / (1 - (a + b) * x / (a + 1))
    fraction = d.copy()
    for m in range(1, TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        previous = fraction
        for step in (even, odd):
            c, d = 1 + step / c, 1 / (1 + step * d)
            fraction = fraction * c * d
        if np.allclose(fraction, previous, rtol=1e-15, atol=0):
            break
    return np.asarray(np.exp(log_prefactor) * fraction)


def _log_beta(a: Floats, b: Floats) -> Floats:
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)


def _log_gamma(values: Floats) -> Floats:
    distinct, inverse = np.unique(values, return_inverse=True)
    log_gammas = np.array([math.lgamma(value) for value in distinct])
    return np.asarray(log_gammas[inverse].reshape(values.shape))


def t_critical(degrees_of_freedom: int) -> float:
    """Return the upper end of a 95 % interval of Student's t with so many degrees of freedom."""
    if degrees_of_freedom < EXPANSION_FREEDOM:
        from scipy.special import stdtrit  # here, because it takes a third of a second to import

        return float(stdtrit(degrees_of_freedom, PERCENTILE_LEVELS[1]))
    # Abramowitz and Stegun 26.7.5: 1e-6 off at most
    z = normal_quantile(PERCENTILE_LEVELS[1])
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / degrees_of_freedom**power for power, term in enumerate(terms)))


def t_critical_values(degrees_of_freedom: Floats) -> Floats:
    """Return the upper end of a 95 % interval of Student's t, for degrees of freedom from 1 on.

    Newton's steps from below: the tail is convex there, so that none goes too far.
    """
    distinct, inverse = np.unique(degrees_of_freedom, return_inverse=True)
    t = np.full(distinct.shape, 1.9)
    for _ in range(NEWTON_STEPS):
        step = (t_two_sided(t, distinct) - SIGNIFICANCE) / (2 * _t_density(t, distinct))
        t = t + step
        if np.all(step <= 1e-14 * t):
            break
    return np.asarray(t[inverse].reshape(np.shape(degrees_of_freedom)))


def _t_density(t: Floats, degrees_of_freedom: Floats) -> Floats:
    log_constants = [
        math.lgamma((f + 1) / 2) - math.lgamma(f / 2) - math.log(f * math.pi) / 2
        for f in degrees_of_freedom
    ]
    return np.asarray(
        np.exp(
            np.array(log_constants)
            - (degrees_of_freedom + 1) / 2 * np.log1p(t**2 / degrees_of_freedom)
        )
    )


def to_percent(share: Estimate) -> Estimate:
    """Return an estimate of a share as one in percent."""
    low, high, error = (
        None if value is None else 100 * value
        for value in (share.low, share.high, share.standard_error)
    )
    return Estimate(100 * share.value, low, high, error)
