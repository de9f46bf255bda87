"""Agreement of two judges: on verdicts (Cohen's kappa) and on the order of models (Kendall's tau).

Intervals are 95 % percentile bootstraps over clusters (prompts), seeded.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from harness.statistics.intervals import PERCENTILE_LEVELS
from harness.statistics.resampling import Floats, bit_generator, resample_weights
from harness.types import Estimate

ROUNDS = 2000


def kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Return Cohen's kappa (1960) of two judges' verdicts on the same items, in the same order.

    1 is full agreement, 0 what chance would give. None where chance alone explains everything (both
    judges always give the same single verdict) or there are no items: kappa is then 0 / 0, and any
    number, 0 or 1, would claim something about the judges that the verdicts do not show.
    """
    value = _kappa(_contingency_tables(first, second, [0] * len(first)).sum(axis=0))
    return None if np.isnan(value) else value


def kappa_interval(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int,
) -> Estimate | None:
    """Return Cohen's kappa with its 95 % interval over resampled clusters, one label per verdict.

    None where kappa is undefined; resamples in which it is undefined are left out.
    """
    tables = _contingency_tables(first, second, clusters)
    value = _kappa(tables.sum(axis=0))
    if np.isnan(value):
        return None
    resamples = resample_weights(len(tables), bit_generator(seed), ROUNDS)
    replicates = np.tensordot(resamples, tables, axes=1)
    return _estimate(value, np.array([_kappa(table) for table in replicates]))


def _contingency_tables(
    first: Sequence[Hashable], second: Sequence[Hashable], clusters: Sequence[Hashable]
) -> Floats:
    """Return counts of verdict pairs, shape (clusters, categories, categories)."""
    index = {category: i for i, category in enumerate(dict.fromkeys([*first, *second]))}
    rows = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
    tables = np.zeros((len(rows), len(index), len(index)))
    for our_category, their_category, cluster in zip(first, second, clusters, strict=True):
        tables[rows[cluster], index[our_category], index[their_category]] += 1
    return tables


def _kappa(table: Floats) -> float:
    """Return kappa of a table of counts, shape (categories, categories); NaN: undefined."""
    if np.count_nonzero(table.sum(axis=0) + table.sum(axis=1)) < 2:
        return float("nan")
    share = table / table.sum()
    chance = float(share.sum(axis=0) @ share.sum(axis=1))
    return float((np.trace(share) - chance) / (1 - chance))


def rank_correlation(first: Floats, second: Floats, *, seed: int) -> Estimate:
    """Return Kendall's tau-b of two judges' mean scores by model, each of shape (models, prompts).

    A missing score is NaN and left out of its model's mean; prompts are resampled. NaN where a
    judge ranks no two models differently.
    """
    resamples = resample_weights(first.shape[1], bit_generator(seed), ROUNDS)
    ours, theirs = (_means(scores, resamples) for scores in (first, second))
    uniform = np.ones((1, first.shape[1]))
    value = _tau(_means(first, uniform)[0], _means(second, uniform)[0])
    taus = [
        _tau(our_means, their_means) for our_means, their_means in zip(ours, theirs, strict=True)
    ]
    return _estimate(value, np.array(taus))


def _means(scores: Floats, resamples: Floats) -> Floats:
    """Return every model's mean in every resample, shape (rounds, models)."""
    known = ~np.isnan(scores)
    sums, counts = resamples @ np.where(known, scores, 0.0).T, resamples @ known.T
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def _tau(first: Floats, second: Floats) -> float:
    upper = np.triu_indices(len(first), 1)
    our_signs, their_signs = (np.sign(np.subtract.outer(x, x))[upper] for x in (first, second))
    scale = np.sqrt(np.count_nonzero(our_signs) * np.count_nonzero(their_signs))
    return float(our_signs @ their_signs / scale) if scale else float("nan")


def _estimate(value: float, replicates: Floats) -> Estimate:
    known = replicates[~np.isnan(replicates)]
    if len(known) < 2:
        return Estimate(value)
    low, high = np.quantile(known, PERCENTILE_LEVELS)
    return Estimate(value, float(low), float(high), float(np.std(known, ddof=1)))
