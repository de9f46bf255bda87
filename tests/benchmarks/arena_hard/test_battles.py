"""Arena-Hard's ratings against scikit-learn's Bradley-Terry fit, and upstream's bounds by hand."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from harness.benchmarks.arena_hard import battles


def random_battles(models=3, rows=400, seed=0):
    rng = np.random.default_rng(seed)
    model = np.sort(rng.integers(0, models, rows))
    points = rng.choice([0.0, 0.5, 1.0], rows, p=[0.4, 0.2, 0.4])
    return battles.Battles(model, points, models)


def bradley_terry(rows):
    """Fit ratings as arena-hard-auto does: ties are half a win and half a loss."""
    x = np.zeros((len(rows.points), rows.model_count + 1))
    x[np.arange(len(x)), rows.model], x[:, -1] = math.log(10), -math.log(10)
    both = np.vstack([x, x])
    labels = np.r_[rows.points > 0, rows.points == 1].astype(int)
    model = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-8).fit(both, labels)
    rating = 400 * model.coef_[0]
    return 1 / (1 + 10 ** ((rating[-1] - rating[:-1]) / 400))


def test_the_share_of_points_is_the_bradley_terry_win_rate():
    rows = random_battles()
    assert battles.win_rates(rows) == pytest.approx(bradley_terry(rows), abs=1e-5)


def test_a_strong_verdict_is_three_rows():
    pooled = battles.pool_battles([[(1.0, 3), (0.5, 1)], [(0.0, 1)]])
    assert pooled.model.tolist() == [0, 0, 0, 0, 1]
    assert pooled.points.tolist() == [1, 1, 1, 0.5, 0]
    assert battles.win_rates(pooled).tolist() == [3.5 / 4, 0]


def test_a_models_bounds_depend_on_who_else_is_there():
    alone = battles.upstream_bounds(battles.pool_battles([[(1.0, 1), (0.0, 1)] * 40]), "gpt-4-0314")
    pair = [[(1.0, 1), (0.0, 1)] * 40] * 2
    together = battles.upstream_bounds(battles.pool_battles(pair), "gpt-4-0314")
    assert alone[0][0] != together[0][0] or alone[1][0] != together[1][0]
    assert together[0][0] != together[0][1] or together[1][0] != together[1][1]


def test_another_baseline_is_never_passed_on():
    pooled = battles.pool_battles([[(1.0, 1), (0.0, 1)] * 40])
    anchored, adrift = (battles.upstream_bounds(pooled, name) for name in ("gpt-4-0314", "other"))
    # ratings r become r/2 and -r/2, and a low percentile of -r/2 is minus a high one of r/2: of two
    # that stand alone the bounds meet in the middle
    assert anchored[1][0] - anchored[0][0] > 15
    assert adrift[1][0] - adrift[0][0] < 5


@pytest.mark.parametrize("points", [0.0, 1.0])
def test_only_wins_or_losses_are_no_error(points):
    low, high = battles.upstream_bounds(battles.pool_battles([[(points, 1)] * 30]), "gpt-4-0314")
    assert low[0] == high[0] == 100 * points


def test_a_model_without_a_row_in_a_round_is_scored_as_upstream_does():
    pooled = battles.pool_battles([[(1.0, 1), (0.0, 1)] * 500, [(1.0, 1)]])
    low, high = battles.upstream_bounds(pooled, "gpt-4-0314")
    assert (low[1], high[1]) == (50, 50)
    assert battles.rounded_percent(np.array([np.nan, 0.12346])).tolist() == [50, 12.35]


def test_the_global_random_state_is_left_alone():
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    battles.upstream_bounds(random_battles(), "gpt-4-0314")
    assert np.array_equal(before, np.random.get_state()[1])
