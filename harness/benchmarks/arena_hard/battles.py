"""Arena-Hard's win rates: closed form, and as arena-hard-auto makes them of its battles.

All battles are against one baseline, so the Bradley-Terry fit that upstream makes has a closed
form: a model's rating against the baseline is the logit of its share of points.

`upstream` replays what made the published bounds (arena-hard-auto at 4813756): 100 rounds, seed 42,
the rows of *all* models drawn together, percentiles of the Elo rating. Where the baseline is not
gpt-4-0314 its name is never passed on: ratings are then left with a mean of nought, and a model's
percentile is compared with the baseline's own. A model that a round has no row of is scored 50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats, Indices

ROUNDS, SEED, PERCENTILES = 100, 42, (2.5, 97.5)
SCALE, MIN_SHARE = 400.0, 1e-6
"""Elo points a factor of ten; the share of points that is taken for 0, or short of 1."""
ANCHORED_BASELINE = "gpt-4-0314"
OUTCOMES = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Battles:
    """Rows in the order of the files: a strong verdict is three of them."""

    model: Indices
    """Whose row it is, shape (rows,)."""
    points: Floats
    """What the model won: 0, ½ or 1; shape (rows,)."""
    model_count: int


def pool_battles(contestants: Sequence[Sequence[tuple[float, int]]]) -> Battles:
    """Lay the games, (won, weight), of all contestants in rows."""
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
    """Return every model's share of points, shape (models,); NaN without a row."""
    return _shares(_encode(battles), battles.model_count)


def upstream_bounds(battles: Battles, baseline: str) -> tuple[Floats, Floats]:
    """Return the lower and upper bounds in percent, rounded as published, each (models,)."""
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
    """Return the rating against the baseline of a share of points."""
    inside = np.clip(shares, MIN_SHARE, 1 - MIN_SHARE)
    return np.asarray(SCALE * np.log10(inside / (1 - inside)))


def rounded_percent(share: Floats) -> Floats:
    """Return shares as upstream writes them into its table: percent, two decimals, NaN as 50."""
    return np.asarray(np.round(100 * np.nan_to_num(share, nan=0.5), 2))


def _win_rate_against(rating: Floats, baseline: float) -> Floats:
    return rounded_percent(1 / (1 + 10 ** ((baseline - rating) / SCALE)))


def _encode(battles: Battles) -> Indices:
    """Return one number a row: whose it is, and whether it was lost, drawn or won."""
    return np.asarray(len(OUTCOMES) * battles.model + (2 * battles.points).astype(np.int64))


def _shares(codes: Indices, model_count: int) -> Floats:
    counts = np.bincount(codes, minlength=len(OUTCOMES) * model_count).reshape(model_count, -1)
    rows = counts.sum(axis=1).astype(np.float64)
    points = counts @ np.array(OUTCOMES)
    shares = np.divide(points, rows, out=np.full(model_count, np.nan), where=rows > 0)
    return np.asarray(shares)
