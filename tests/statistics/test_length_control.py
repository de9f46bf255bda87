"""The logistic regression against scikit-learn, and length control on known worlds."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from harness.errors import CheckError
from harness.statistics.bootstrap import interval
from harness.statistics.intervals import SHARE, to_percent
from harness.statistics.length_control import fit_length_control
from harness.statistics.logistic import fit
from harness.statistics.resampling import bit_generator, resample_weights


def world(n, b=0.4, w=1.0, seed=0):
    rng = np.random.default_rng(seed)
    difference = rng.normal(50, 300, size=n)
    p = expit(b + w * np.tanh(difference / np.std(difference, ddof=1)))
    return (rng.random(n) < p).astype(float), difference


def test_soft_labels_give_scikit_learns_coefficients():
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(60), rng.normal(size=60)], axis=1)
    y, w = rng.random(60), rng.integers(0, 4, 60).astype(float)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=1000)
    # a soft label y is a one of weight w * y and a zero of weight w * (1 - y)
    model.fit(np.vstack([x, x]), np.r_[np.ones(60), np.zeros(60)], np.r_[w * y, w * (1 - y)])
    result = fit(x, y, w[None, :])
    assert result.converged.all()
    assert result.coefficients[0] == pytest.approx(model.coef_[0], abs=1e-6)


def test_a_thousand_refits_converge():
    y, difference = world(400)
    x = np.stack([np.ones(400), np.tanh(difference / difference.std(ddof=1))], axis=1)
    resamples = resample_weights(400, bit_generator(0), 1000)
    result = fit(x, y, resamples)
    assert result.converged.all()
    assert result.coefficients.shape == (1000, 2)


def test_length_control_finds_the_rate_at_equal_length():
    y, difference = world(20_000)
    result = fit_length_control(y, difference + 500, np.full(len(y), 500), seed=0, rounds=50)
    # sigmoid(0.4) = 0.5987
    assert result.value == pytest.approx(59.87, abs=1.5)
    assert result.low < result.value < result.high
    assert y.mean() * 100 > result.value + 1  # longer than the baseline on average


def test_length_controls_interval_covers_as_often_as_it_says():
    hits = 0
    for seed in range(150):
        y, difference = world(200, seed=seed)
        result = fit_length_control(y, difference, np.zeros(len(y)), seed=seed, rounds=300)
        hits += result.low <= 59.87 <= result.high
    # 0.95 within three standard errors of a share of 150: 0.053
    assert hits / 150 >= 0.897


def test_length_does_not_matter_where_it_is_the_same():
    y, _ = world(50)
    result = fit_length_control(y, np.full(50, 9.0), np.full(50, 9.0), seed=1, rounds=200)
    assert result == to_percent(interval(y, seed=1, rounds=200, bounds=SHARE))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_preferences_are_their_own_rate(value):
    result = fit_length_control([value] * 30, range(30), [10] * 30, seed=0)
    assert result.value == 100 * value
    # Clopper and Pearson's bound of 0 of 30 is 1 - 0.025^(1 / 30)
    exact = 100 * (1 - 0.025 ** (1 / 30))
    low, high = {0.0: (0, exact), 0.5: (45.3, 54.7), 1.0: (100 - exact, 100)}[value]
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.05)


def test_wins_that_length_alone_decides_have_a_value_but_no_interval():
    difference = np.arange(-50.0, 50.0)
    result = fit_length_control((difference > 0.5).astype(float), difference, np.zeros(100), seed=0)
    assert 0 <= result.value <= 100
    assert result.low is None
    assert result.high is None


def test_a_single_exception_is_no_reason_to_fail():
    wins = [float(i != 50) for i in range(100)]
    result = fit_length_control(wins, range(100), [50] * 100, seed=0)
    assert 90 < result.low <= result.value <= result.high <= 100


def test_few_answers_have_a_figure():
    assert fit_length_control([1.0], [3], [4], seed=0).value == 100
    assert fit_length_control([1.0, 0.0], [3, 9], [4, 4], seed=0).value == 50
    with pytest.raises(CheckError):
        fit_length_control([], [], [], seed=0)
