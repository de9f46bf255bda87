"""Arena-Hard's win rates from battles: in closed form, and as arena-hard-auto computes them.

All battles are against one baseline, so upstream's Bradley-Terry fit has a closed form: a model's
rating relative to the baseline is the logit of its share of points.

`upstream_bounds` replays the bootstrap behind the published bounds (arena-hard-auto at 4813756):
100 rounds, seed 42, the rows of *all* models resampled together, percentiles of the Elo rating.
Upstream never passes on the name of a baseline other than gpt-4-0314: ratings then keep a mean of
zero, and a model's percentile is compared with the baseline's own. A model without a row in a
round scores 50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats, Indices

ROUNDS, SEED, PERCENTILES = 100, 42, (2.5, 97.5)
SCALE, MIN_SHARE = 400.0, 1e-6
"""Elo points per factor of ten in the odds; shares are clipped to [MIN_SHARE, 1 - MIN_SHARE]."""
ANCHORED_BASELINE = "gpt-4-0314"
OUTCOMES = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Battles:
    """Rows in the order of the files; a strong verdict takes three rows."""

    model: Indices
    """The index of each row's model, shape (rows,)."""
    points: Floats
    """The model's points: 0, ½ or 1; shape (rows,)."""
    model_count: int


def pool_battles(contestants: Sequence[Sequence[tuple[float, int]]]) -> Battles:
    """Return the games, (won, weight), of all contestants as rows."""
    rows = [
        (index, points)
        for index, games in enumerate(contestants)
        for points, weight in games
        for _ in range(weight)
    ]
    model = np.array([index for index, _ in rows], dtype=np.int64)
    points = np.array([value for _, value in rows], dtype=np.float64)
    return Battles(model, points, len(contestants))


def win_rates(battles: Battles) -> Floats:
    """Return every model's share of points, shape (models,); NaN for a model without rows."""
    return _shares(_encode(battles), battles.model_count)


def upstream_bounds(battles: Battles, baseline: str) -> tuple[Floats, Floats]:
    """Return lower and upper bounds in percent, rounded as published, each of shape (models,)."""
    generator, codes = np.random.RandomState(SEED), _encode(battles)
    rounds = [
        _shares(codes[generator.randint(0, len(codes), len(codes))], battles.model_count)
        for _ in range(ROUNDS)
    ]
    ratings = elo(np.array(rounds))
    anchor = np.zeros(ROUNDS)
    if baseline != ANCHORED_BASELINE:
        anchor = -np.nansum(ratings, axis=1) / (battles.model_count + 1)
        ratings = ratings + anchor[:, None]
    low, high = (
        _win_rate_against(
            np.percentile(ratings, percentile, axis=0), float(np.percentile(anchor, percentile))
        )
        for percentile in PERCENTILES
    )
    return low, high


def elo(shares: Floats) -> Floats:
    """Return the Elo rating relative to the baseline that a share of points implies."""
    inside = np.clip(shares, MIN_SHARE, 1 - MIN_SHARE)
    return np.asarray(SCALE * np.log10(inside / (1 - inside)))


def rounded_percent(share: Floats) -> Floats:
    """Return shares as upstream's table has them: percent, two decimals, NaN as 50."""
    return np.asarray(np.round(100 * np.nan_to_num(share, nan=0.5), 2))


def _win_rate_against(rating: Floats, baseline: float) -> Floats:
    return rounded_percent(1 / (1 + 10 ** ((baseline - rating) / SCALE)))


def _encode(battles: Battles) -> Indices:
    """Return one code per row: the model, and whether it lost, drew or won."""
    return np.asarray(len(OUTCOMES) * battles.model + (2 * battles.points).astype(np.int64))


def _shares(codes: Indices, model_count: int) -> Floats:
    counts = np.bincount(codes, minlength=len(OUTCOMES) * model_count).reshape(model_count, -1)
    rows = counts.sum(axis=1).astype(np.float64)
    points = counts @ np.array(OUTCOMES)
    shares = np.divide(points, rows, out=np.full(model_count, np.nan), where=rows > 0)
    return np.asarray(shares)
