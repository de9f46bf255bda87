"""How far two judges agree: on verdicts (Cohen's kappa) and on the order of models (Kendall's tau).

Intervals are 95 % percentile bootstraps over clusters (prompts), seeded.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from harness.statistics.resampling import Floats, bit_generator, resample_weights
from harness.types import Estimate

ROUNDS = 2000


def kappa(
    first: Sequence[int], second: Sequence[int], clusters: Sequence[Hashable], *, seed: int
) -> Estimate:
    """Return Cohen's kappa of two judges' categories (1960), one pair a verdict.

    1 is agreement, 0 what chance would give. Where both always say the same one thing, chance
    agrees too, and kappa is 0.
    """
    categories = sorted({*first, *second})
    index = {name: i for i, name in enumerate(categories)}
    groups = {name: i for i, name in enumerate(dict.fromkeys(clusters))}
    tables = np.zeros((len(groups), len(categories), len(categories)))
    for our_category, their_category, cluster in zip(first, second, clusters, strict=True):
        tables[groups[cluster], index[our_category], index[their_category]] += 1
    resamples = resample_weights(len(groups), bit_generator(seed), ROUNDS)
    replicates = np.tensordot(resamples, tables, axes=1)
    return _estimate(_kappa(tables.sum(axis=0)), np.array([_kappa(table) for table in replicates]))


def _kappa(table: Floats) -> float:
    """Return kappa of a table of counts, shape (categories, categories)."""
    share = table / table.sum()
    chance = float(share.sum(axis=0) @ share.sum(axis=1))
    return 0.0 if chance >= 1 else float((np.trace(share) - chance) / (1 - chance))


def rank_correlation(first: Floats, second: Floats, *, seed: int) -> Estimate:
    """Return Kendall's tau-b of two judges' means by model, each of shape (models, prompts).

    A missing value is NaN and left out of its model's mean; prompts are resampled.
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
    """Return Kendall's tau-b; NaN where a judge cannot tell any two models apart."""
    upper = np.triu_indices(len(first), 1)
    our_signs, their_signs = (np.sign(np.subtract.outer(x, x))[upper] for x in (first, second))
    scale = np.sqrt(np.count_nonzero(our_signs) * np.count_nonzero(their_signs))
    return float(our_signs @ their_signs / scale) if scale else float("nan")


def _estimate(value: float, replicates: Floats) -> Estimate:
    known = replicates[~np.isnan(replicates)]
    if not len(known):
        return Estimate(value)
    low, high = np.quantile(known, (0.025, 0.975))
    return Estimate(value, float(low), float(high), float(np.std(known, ddof=1)))
