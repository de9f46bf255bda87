"""Percentile bootstrap intervals of means and of ratios of sums, 95 %, seeded."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from harness.errors import CheckError
from harness.statistics.resampling import Floats, stream, weights
from harness.types import Estimate

LEVEL = (0.025, 0.975)
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
    return spread(value, _ratios(top, bottom, seed, rounds))


def spread(value: float, resampled: Floats) -> Estimate:
    """Return a figure with the 95 % interval and standard error that its resamples imply."""
    low, high = np.quantile(resampled, LEVEL)
    return Estimate(value, float(low), float(high), float(np.std(resampled, ddof=1)))


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
