"""Agreement of two judges, against figures worked by hand."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from harness.statistics.agreement import kappa, rank_correlation


def test_kappa_is_agreement_beyond_chance():
    # 20 + 15 of 50 agree: 0.7; chance: 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5 = 0.4
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    found = kappa(first, second, range(50), seed=0)
    assert found.value == pytest.approx(0.4)
    # the large-sample standard error is sqrt(0.7 * 0.3 / (50 * 0.25)) = 0.13
    assert found.standard_error == pytest.approx(0.13, abs=0.02)
    assert found.low < 0.4 < found.high


def test_verdicts_of_one_cluster_are_drawn_together():
    first, second = [1, 0] * 20, [1, 0] * 15 + [0, 1] * 5
    alone = kappa(first, second, range(40), seed=0)
    together = kappa(first, second, [i // 2 for i in range(40)], seed=0)
    assert together.standard_error > 1.2 * alone.standard_error


def test_two_who_always_say_the_same_one_thing_agree_by_chance():
    assert kappa([1] * 9, [1] * 9, range(9), seed=0).value == 0


def test_the_order_of_models_is_kendalls_tau():
    rng = np.random.Generator(np.random.PCG64(1))
    old = rng.random((7, 40))
    new = old + rng.normal(0, 0.2, old.shape)
    found = rank_correlation(old, new, seed=0)
    assert found.value == pytest.approx(kendalltau(old.mean(axis=1), new.mean(axis=1)).statistic)
    assert found.low <= found.value <= found.high


def test_a_missing_verdict_is_left_out_of_its_models_mean():
    old = np.array([[0.0, 1.0], [0.4, 0.4]])
    new = np.array([[0.0, np.nan], [0.4, 0.4]])
    # old: 0.5 over 0.4; new: 0 under 0.4
    assert rank_correlation(old, new, seed=0).value == -1
