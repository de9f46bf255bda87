"""Bootstrap intervals of means and of ratios of sums, 95 %, seeded.

BCa intervals (Efron, JASA 82, 1987): quantiles of the resamples, moved for the bias of their median
and for the skew of the items. The quantiles are widened to what a t interval of as many items would
reach (Hesterberg, The American Statistician 69, 2015): plain ones are too narrow by the factor
sqrt((n - 1) / n), and by the normal in place of the t distribution. With 80 questions, or a win
rate of a few percent, plain percentiles cover the truth too rarely; tests/statistics hold that
these cover it as often as they say.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from harness.errors import CheckError
from harness.statistics.normal import below, quantile
from harness.statistics.resampling import Floats, stream, weights
from harness.types import Estimate

PLAIN = (0.025, 0.975)
"""The ends of a 95 % interval."""
EXPANDED = 40
"""Degrees of freedom from which on Student's t is taken from its expansion."""
SAME = 1e-12
"""Relative distance within which a resample's figure is the figure itself."""
CELLS = 4_000_000
"""How many numbers a block of resamples may hold."""


def interval(
    values: Sequence[float],
    *,
    seed: int,
    rounds: int = 2000,
    clusters: Sequence[Hashable] | None = None,
) -> Estimate:
    """Return the mean of `values` with its 95 % interval, in their unit.

    Without `clusters` the standard error is the textbook one (ddof = 1). With them, one label a
    value, whole clusters are resampled, and the standard error is the spread of the resamples.
    Fewer than two values (or clusters) have neither.

    Raises:
        CheckError: there are no values.
    """
    if clusters is not None:
        return _clustered(values, clusters, seed, rounds)
    found = ratio_interval(values, np.ones(len(values)), seed=seed, rounds=rounds)
    if found.low is None:
        return found
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(found.value, found.low, found.high, error)


def ratio_interval(
    won: Sequence[float] | Floats,
    weight: Sequence[float] | Floats,
    *,
    seed: int,
    rounds: int = 2000,
) -> Estimate:
    """Return sum(won) / sum(weight) with its 95 % interval over resampled items.

    Both have shape (items,). The standard error is the spread of the resamples.

    Raises:
        CheckError: the weights sum to nothing.
    """
    top, bottom = np.asarray(won, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    if not bottom.sum() > 0:
        raise CheckError("there is nothing to average: no verdict could be read")
    value = float(top.sum() / bottom.sum())
    if len(top) < 2:
        return Estimate(value)
    return spread(value, _ratios(top, bottom, seed, rounds), top - value * bottom)


def spread(value: float, resampled: Floats, influence: Floats | None = None) -> Estimate:
    """Return a figure with the 95 % interval and standard error that its resamples imply.

    Args:
        value: The figure.
        resampled: The same of every resample.
        influence: How far each item that is resampled moves the figure, to a common factor;
            shape (items,), two at least. None: not known, the interval is of plain percentiles.
    """
    levels = PLAIN if influence is None else _levels(value, resampled, influence)
    low, high = np.quantile(resampled, levels)
    return Estimate(value, float(low), float(high), float(np.std(resampled, ddof=1)))


def _levels(value: float, resampled: Floats, influence: Floats) -> Floats:
    """Return which quantiles of the resamples are the ends of the interval."""
    n, rounds = len(influence), len(resampled)
    tied = np.isclose(resampled, value, rtol=SAME, atol=0)
    under = np.mean(np.where(tied, 0.5, resampled < value))
    bias = quantile(float(np.clip(under, 1 / rounds, 1 - 1 / rounds)))
    reach = np.sqrt(n / (n - 1)) * student(n - 1)
    moved = bias + reach * np.array([-1.0, 1.0])
    left = 1 - _acceleration(influence) * moved
    ends = bias + moved / np.where(left > 0, left, 1)
    return np.where(left > 0, [below(end) for end in ends], moved > 0)


def student(freedom: int) -> float:
    """Return the upper end of a 95 % interval of Student's t with so many degrees of freedom."""
    if freedom < EXPANDED:
        from scipy.special import stdtrit  # here, because it takes a third of a second to import

        return float(stdtrit(freedom, PLAIN[1]))
    # Abramowitz and Stegun 26.7.5: 1e-6 off at most
    z = quantile(PLAIN[1])
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def _acceleration(influence: Floats) -> float:
    """Return how fast the standard error changes with the figure: a sixth of the items' skew."""
    scale = np.sqrt(np.sum(influence**2))
    return float(np.sum((influence / scale) ** 3) / 6) if scale > 0 else 0.0


def _ratios(top: Floats, bottom: Floats, seed: int, rounds: int) -> Floats:
    """Return the ratio of every resample that weighs anything."""
    block, source = max(1, CELLS // len(top)), stream(seed)
    sizes = [min(block, rounds - begun) for begun in range(0, rounds, block)]
    both = np.stack([top, bottom], axis=1)
    sums = [weights(len(top), source, size) @ both for size in sizes]
    tops, bottoms = np.concatenate(sums).T
    return np.asarray(tops[bottoms > 0] / bottoms[bottoms > 0])


def _clustered(
    values: Sequence[float], clusters: Sequence[Hashable], seed: int, rounds: int
) -> Estimate:
    places = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    member = np.array([places[name] for name in clusters], dtype=np.int64)
    sums = np.asarray(np.bincount(member, weights=np.asarray(values)), dtype=np.float64)
    sizes = np.bincount(member).astype(np.float64)
    return ratio_interval(sums, sizes, seed=seed, rounds=rounds)
