"""Agreement of two judges, against figures worked by hand."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from harness.statistics.agreement import _estimate, kappa, kappa_interval, rank_correlation
from harness.types import Estimate


def test_kappa_is_agreement_beyond_chance():
    # 20 + 15 of 50 agree: 0.7; chance: 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5 = 0.4
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    estimate = kappa_interval(first, second, range(50), seed=0)
    assert kappa(first, second) == estimate.value == pytest.approx(0.4)
    # the large-sample standard error is sqrt(0.7 * 0.3 / (50 * 0.25)) = 0.13
    assert estimate.standard_error == pytest.approx(0.13, abs=0.02)
    assert estimate.low < 0.4 < estimate.high


def test_verdicts_of_one_cluster_are_drawn_together():
    first, second = [1, 0] * 20, [1, 0] * 15 + [0, 1] * 5
    alone = kappa_interval(first, second, range(40), seed=0)
    together = kappa_interval(first, second, [i // 2 for i in range(40)], seed=0)
    assert together.standard_error > 1.2 * alone.standard_error


def test_kappa_is_undefined_where_both_always_give_the_same_verdict():
    # observed agreement 1, agreement by chance 1: 0 / 0
    assert kappa([1] * 9, [1] * 9) is None
    assert kappa_interval([1] * 9, [1] * 9, range(9), seed=0) is None
    assert kappa([], []) is None
    # two constants that differ: observed 0, by chance 0
    assert kappa(["win"] * 3, ["loss"] * 3) == 0


def test_resamples_without_a_kappa_are_left_out():
    # one verdict of nine differs: a third of the resamples, (8 / 9)^9, lack it
    estimate = kappa_interval([1] * 8 + [0], [1] * 8 + [0], range(9), seed=0)
    assert (estimate.value, estimate.low, estimate.high) == (1, 1, 1)
    # the same with a single verdict: no resample has another
    assert kappa_interval([1, 0], [1, 0], [0, 0], seed=0).low == 1


def test_the_order_of_models_is_kendalls_tau():
    rng = np.random.Generator(np.random.PCG64(1))
    old = rng.random((7, 40))
    new = old + rng.normal(0, 0.2, old.shape)
    estimate = rank_correlation(old, new, seed=0)
    assert estimate.value == pytest.approx(kendalltau(old.mean(axis=1), new.mean(axis=1)).statistic)
    assert estimate.low <= estimate.value <= estimate.high


def test_a_missing_verdict_is_left_out_of_its_models_mean():
    old = np.array([[0.0, 1.0], [0.4, 0.4]])
    new = np.array([[0.0, np.nan], [0.4, 0.4]])
    # old: 0.5 over 0.4; new: 0 under 0.4
    assert rank_correlation(old, new, seed=0).value == -1


def test_an_interval_needs_two_resamples_in_which_the_figure_is_defined():
    nan = np.nan
    assert _estimate(1.0, np.array([nan, 0.5, nan])) == Estimate(1.0)
    two = _estimate(1.0, np.array([nan, 0.0, 1.0]))
    assert (two.low, two.high) == pytest.approx((0.025, 0.975))
    assert two.standard_error == pytest.approx(0.5**0.5)


def test_judges_that_rank_no_two_models_differently_have_no_rank_correlation():
    tied = np.full((2, 3), 0.5)
    assert np.isnan(rank_correlation(tied, tied, seed=0).value)
