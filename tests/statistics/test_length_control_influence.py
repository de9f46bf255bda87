"""Contributions to a length-controlled win rate: their mean, and that they replace refits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from harness.statistics.length_control import fit_length_control, prompt_contributions
from harness.statistics.length_control_glm import GamedRows, ModelRows, length_controlled_win_rate
from harness.statistics.logistic import fit
from harness.statistics.resampling import bit_generator, resample_weights


def judged(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(1200, 300, n), rng.normal(1000, 300, n)
    logits = 0.5 + (ours - theirs) / 300 + rng.normal(size=n)
    return expit(2 * logits), ours, theirs


def test_the_mean_is_the_figure_and_weighted_means_are_refits():
    preference, ours, theirs = judged()
    contributions = np.array(prompt_contributions(preference, ours, theirs))
    figure = fit_length_control(preference, ours, theirs, seed=0, rounds=10).value
    assert 100 * contributions.mean() == pytest.approx(figure, abs=1e-6)
    resamples, difference = resample_weights(300, bit_generator(1), 500), ours - theirs
    features = np.stack([np.ones(300), np.tanh(difference / difference.std(ddof=1))], axis=1)
    refits = expit(fit(features, preference, resamples).coefficients[:, 0])
    linear = resamples @ contributions / 300
    assert linear.std() == pytest.approx(refits.std(), rel=0.02)
    assert np.corrcoef(linear, refits)[0, 1] > 0.995


def test_where_nothing_is_controlled_for_they_are_the_preferences():
    assert prompt_contributions([0.2, 0.9, 1.0, 0.0], [5, 6, 7, 8], [4, 5, 6, 7]) == [
        0.2,
        0.9,
        1.0,
        0.0,
    ]
    assert prompt_contributions([0.5, 0.5, 0.5], [5, 6, 9], [4, 5, 6]) == [0.5, 0.5, 0.5]


def test_alpaca_evals_contributions_stand_for_its_refits():
    preference, ours, theirs = judged(200, 1)
    rng = np.random.default_rng(2)
    rows = ModelRows(preference, ours, theirs, rng.normal(size=200))
    gamed = GamedRows(rng.uniform(size=400), rng.normal(size=400), rng.normal(size=400))
    result = length_controlled_win_rate(rows, gamed, seed=3, rounds=1000, strength=1.0)
    assert result.contributions.mean() == pytest.approx(result.estimate.value)
    linear = resample_weights(200, bit_generator(3), 1000) @ result.contributions / 200
    assert linear.std(ddof=1) == pytest.approx(result.estimate.standard_error, rel=0.02)
