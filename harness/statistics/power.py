"""Minimum detectable differences: of the very test, degrees of freedom and correction that mark.

The test divides a difference by its estimated standard error. With one estimated variance, that of
the prompts, the ratio has a noncentral t distribution. With means over training seeds two more
variances are estimated, from few seeds each, and no closed form exists: the power is then the mean
of a normal probability over the distribution of the estimates, which for one variance is the
noncentral t distribution again. Under Holm's correction a test that is the only true difference
must pass at 5 % over the number of tests; where others are true as well its power is higher, by up
to three points in 100 (benchmarks/power.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.intervals import Bounds, normal_cdf, t_critical, t_two_sided
from harness.statistics.paired import EPSILON, FAMILYWISE_ERROR, POWER, Differences
from harness.statistics.resampling import Floats, Mask
from harness.statistics.seeds import effective_degrees_of_freedom, logit_slope

NODES = 48
"""Equally likely values of an estimated variance that its distribution is replaced by."""
STEPS = 50
"""Halvings of the range of a minimum detectable difference."""
CERTAIN = 1000.0
"""Degrees of freedom from which a variance counts as known where others are not."""


@dataclass(frozen=True, slots=True)
class VarianceComponent:
    """One variance of a difference, and the degrees of freedom of its estimate."""

    variance: float
    degrees_of_freedom: float


def power(difference: float, components: Sequence[VarianceComponent], tests: int = 1) -> float:
    """Return how often a true difference is found significant, two-sided at 5 % over `tests`.

    Args:
        difference: The true difference.
        components: The true variances that add up to its error, in the square of its unit.
        tests: Number of tests that Holm's correction is over.
    """
    return _rejected(difference, components, _threshold(components, FAMILYWISE_ERROR / tests))


def minimum_detectable_difference(components: Sequence[VarianceComponent], tests: int = 1) -> float:
    """Return the smallest true difference that is found with 80 % power; see `power`."""
    threshold = _threshold(components, FAMILYWISE_ERROR / tests)
    low, high = 0.0, float(np.sqrt(sum(c.variance for c in components)))
    while _rejected(high, components, threshold) < POWER:
        low, high = high, 2 * high
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _rejected(middle, components, threshold) < POWER:
            low = middle
        else:
            high = middle
    return high


def median_detectable(comparison: Differences, pairs: Mask) -> float | None:
    """Return the minimum detectable difference of the pair with the median standard error.

    Args:
        comparison: The tests.
        pairs: Which pairs Holm's correction is over, shape (contestants, contestants).

    Returns:
        None where no pair has a standard error.
    """
    rows, columns = np.nonzero(pairs & comparison.is_tested)
    errors = comparison.error[rows, columns]
    positive = np.flatnonzero(errors > EPSILON)
    if not len(positive):
        return None
    middle = positive[np.argsort(errors[positive], kind="stable")[(len(positive) - 1) // 2]]
    components = [
        VarianceComponent(*pair) for pair in comparison.components(rows[middle], columns[middle])
    ]
    return minimum_detectable_difference(components, len(rows))


def identical_marked(
    error: float, degrees_of_freedom: float, value: float, spread: float, bounds: Bounds
) -> float:
    """Return how often two runs of one method differ significantly by a test over prompts alone.

    The test knows the error over prompts and not the variance between training seeds, by which two
    runs differ as well; without one the rate would be 5 %.

    Args:
        error: Standard error of the difference over prompts.
        degrees_of_freedom: Of that standard error.
        value: The figure of the method; `bounds` are the lowest and the highest possible one.
        spread: Standard deviation between seeds, in logits of the figure.
        bounds: See `value`.
    """
    between_seeds = 2 * (spread / logit_slope(value, bounds)) ** 2
    critical = float(t_critical(degrees_of_freedom)) / np.sqrt(1 + between_seeds / error**2)
    return float(t_two_sided(np.asarray(critical), np.asarray(degrees_of_freedom)))


def _estimates(components: Sequence[VarianceComponent]) -> Floats:
    """Return equally likely estimates of the variances, shape (nodes, components)."""
    from scipy.special import gammaincinv

    levels = (np.arange(NODES) + 0.5) / NODES
    columns = []
    for component in components:
        half = component.degrees_of_freedom / 2
        is_known = len(components) > 1 and component.degrees_of_freedom >= CERTAIN
        ratios = np.ones(1) if is_known else gammaincinv(half, levels) / half
        columns.append(component.variance * ratios)
    return np.array(list(itertools.product(*columns)))


def _threshold(components: Sequence[VarianceComponent], level: float) -> Floats:
    """Return the smallest significant difference under each of `_estimates`, shape (nodes,)."""
    from scipy.special import stdtrit

    estimates = _estimates(components)
    columns = [
        (estimates[:, i], np.full(len(estimates), c.degrees_of_freedom))
        for i, c in enumerate(components)
    ]
    freedom = columns[0][1] if len(columns) == 1 else effective_degrees_of_freedom(columns)
    return np.asarray(stdtrit(freedom, 1 - level / 2) * np.sqrt(estimates.sum(axis=1)))


def _rejected(
    difference: float, components: Sequence[VarianceComponent], threshold: Floats
) -> float:
    deviation = np.sqrt(sum(c.variance for c in components))
    above = normal_cdf((difference - threshold) / deviation)
    below = normal_cdf((-difference - threshold) / deviation)
    return float(np.mean(above + below))
