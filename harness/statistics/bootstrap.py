"""Bootstrap intervals of means and of ratios of sums, 95 %, seeded.

BCa intervals (Efron, JASA 82, 1987): quantiles of the replicates, corrected for the bias of their
median and for the skewness of the items. The quantiles are widened to the reach of a t interval
over the same number of items (Hesterberg, The American Statistician 69, 2015): plain ones are too
narrow by the factor sqrt((n - 1) / n) and by using the normal in place of the t distribution. With
80 questions, or a win rate of a few percent, plain percentiles cover the truth too rarely;
tests/statistics check that these intervals reach their nominal coverage.

No resample holds what the sample does not: where all items agree, or all but few, resampling says
nothing about the others. With `bounds`, the range of an item, the interval therefore reaches at
least as far as an exact one (see `intervals.exact_bounds`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from harness.errors import CheckError
from harness.statistics.intervals import (
    PERCENTILE_LEVELS,
    Bounds,
    normal_cdf,
    normal_quantile,
    t_critical,
    widen_to_exact,
)
from harness.statistics.resampling import Floats, bit_generator, resample_weights
from harness.types import Estimate

TIE_TOLERANCE = 1e-12
"""Relative distance within which a replicate counts as equal to the point estimate."""
BLOCK_SIZE = 4_000_000
"""The most numbers that a block of resamples may hold."""
SMALL_SAMPLE = 50
"""Below this count an interval is reported with a note."""


def interval(
    values: Sequence[float],
    *,
    seed: int,
    rounds: int = 2000,
    clusters: Sequence[Hashable] | None = None,
    bounds: Bounds | None = None,
) -> Estimate:
    """Return the mean of `values` with its 95 % interval, in their unit.

    With `bounds`, the lowest and the highest possible value, the interval is never narrower than
    Clopper and Pearson's. Without `clusters` the standard error is the textbook one (ddof = 1).
    With `clusters`, one label per value, whole clusters are resampled and the standard error is the
    standard deviation of the replicates. Fewer than two values (or clusters) have neither interval
    nor standard error.

    Raises:
        CheckError: there are no values.
    """
    if clusters is not None:
        return _clustered_interval(values, clusters, seed, rounds, bounds)
    alike = np.ones(len(values))
    estimate = ratio_interval(values, alike, seed=seed, rounds=rounds, bounds=bounds)
    if estimate.low is None:
        return estimate
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(estimate.value, estimate.low, estimate.high, error)


def small_sample_note(count: int, unit: str) -> tuple[str, ...]:
    """Return a note where there are too few items for an interval to say much, else nothing."""
    note = f"only {count} {unit}: too few for an informative interval"
    return (note,) if count < SMALL_SAMPLE else ()


def ratio_interval(
    points: Sequence[float] | Floats,
    weight: Sequence[float] | Floats,
    *,
    seed: int,
    rounds: int = 2000,
    bounds: Bounds | None = None,
) -> Estimate:
    """Return sum(points) / sum(weight) with its 95 % interval over resampled items.

    Both have shape (items,). The standard error is the standard deviation of the replicates. With
    `bounds`, the lowest and the highest possible ratio, the interval is never narrower than Clopper
    and Pearson's for the effective number of items; an item without weight does not count.

    Raises:
        CheckError: the weights sum to zero.
    """
    numerator, denominator = (np.asarray(x, dtype=np.float64) for x in (points, weight))
    if not denominator.sum() > 0:
        raise CheckError("there is nothing to average: no verdict could be read")
    value = float(numerator.sum() / denominator.sum())
    if len(numerator) < 2:
        return Estimate(value)
    influence = numerator - value * denominator
    replicates = _ratios(numerator, denominator, seed, rounds)
    estimate = bootstrap_interval(value, replicates, influence)
    if bounds is None:
        return estimate
    weighted = denominator > 0
    contributions = value + influence[weighted] / denominator[weighted].mean()
    return widen_to_exact(estimate, contributions, bounds)


def bootstrap_interval(
    value: float, replicates: Floats, influence: Floats | None = None
) -> Estimate:
    """Return an estimate with the 95 % interval and standard error that its replicates imply.

    Args:
        value: The point estimate.
        replicates: The estimate in each resample, shape (rounds,).
        influence: The influence of each resampled item on the estimate, up to a common factor;
            shape (items,), two at least. None: unknown, and the interval is of plain percentiles.
    """
    levels = PERCENTILE_LEVELS if influence is None else _levels(value, replicates, influence)
    low, high = np.quantile(replicates, levels)
    return Estimate(value, float(low), float(high), float(np.std(replicates, ddof=1)))


def _levels(value: float, replicates: Floats, influence: Floats) -> Floats:
    """Return the quantile levels of the replicates at the ends of the interval, shape (2,)."""
    n, rounds = len(influence), len(replicates)
    tied = np.isclose(replicates, value, rtol=TIE_TOLERANCE, atol=0)
    under = np.mean(np.where(tied, 0.5, replicates < value))
    bias = normal_quantile(float(np.clip(under, 1 / rounds, 1 - 1 / rounds)))
    half_width = np.sqrt(n / (n - 1)) * float(t_critical(n - 1))
    shifted = bias + half_width * np.array([-1.0, 1.0])
    denominator = 1 - _acceleration(influence) * shifted
    ends = bias + shifted / np.where(denominator > 0, denominator, 1)
    return np.where(denominator > 0, normal_cdf(ends), shifted > 0)


def _acceleration(influence: Floats) -> float:
    """Return the acceleration constant: a sixth of the skewness of the items' influence."""
    scale = np.sqrt(np.sum(influence**2))
    return float(np.sum((influence / scale) ** 3) / 6) if scale > 0 else 0.0


def _ratios(numerator: Floats, denominator: Floats, seed: int, rounds: int) -> Floats:
    """Return the ratio in every resample of positive weight."""
    block, source = max(1, BLOCK_SIZE // len(numerator)), bit_generator(seed)
    sizes = [min(block, rounds - offset) for offset in range(0, rounds, block)]
    columns = np.stack([numerator, denominator], axis=1)
    sums = [resample_weights(len(numerator), source, size) @ columns for size in sizes]
    numerators, denominators = np.concatenate(sums).T
    return np.asarray(numerators[denominators > 0] / denominators[denominators > 0])


def _clustered_interval(
    values: Sequence[float],
    clusters: Sequence[Hashable],
    seed: int,
    rounds: int,
    bounds: Bounds | None,
) -> Estimate:
    cluster_index = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    member = np.array([cluster_index[name] for name in clusters], dtype=np.int64)
    sums = np.asarray(np.bincount(member, weights=np.asarray(values)), dtype=np.float64)
    sizes = np.bincount(member).astype(np.float64)
    return ratio_interval(sums, sizes, seed=seed, rounds=rounds, bounds=bounds)


def paired_bootstrap(
    first: Sequence[float] | Floats,
    second: Sequence[float] | Floats,
    *,
    seed: int = 0,
    rounds: int = 2000,
    clusters: Sequence[Hashable] | None = None,
) -> Estimate:
    """Return the mean of first minus second, in their unit, with its 95 % bootstrap interval.

    Args:
        first: one score a prompt, shape (prompts,); not a number where there is none.
        second: the other method's scores on the same prompts, in the same order.
        seed: of the resamples.
        rounds: how many resamples.
        clusters: a label a prompt, where whole groups of prompts are resampled.

    Raises:
        CheckError: the two are not of one length, or share no prompt with a score.
    """
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise CheckError(
            f"paired scores must be two vectors of one length, got shapes {x.shape} and {y.shape}"
        )
    scored = ~(np.isnan(x) | np.isnan(y))
    labels = (
        None
        if clusters is None
        else [c for c, is_in in zip(clusters, scored, strict=True) if is_in]
    )
    return interval((x - y)[scored].tolist(), seed=seed, rounds=rounds, clusters=labels)
