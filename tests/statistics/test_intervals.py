"""Quantiles, tails and intervals against the standard library, scipy and published examples."""

from __future__ import annotations

import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import beta
from scipy.stats import t as student

from harness.statistics.intervals import (
    exact_bounds,
    normal_cdf,
    normal_interval,
    normal_quantile,
    t_critical,
    t_two_sided,
    to_percent,
    widen_to_exact,
    wilson_interval,
)
from harness.types import Estimate


@pytest.mark.parametrize("p", [1e-12, 0.0005, 0.025, 0.5, 0.8, 0.975, 1 - 1e-9])
def test_quantiles_are_the_standard_librarys(p):
    assert normal_quantile(p) == pytest.approx(NormalDist().inv_cdf(p), abs=1e-8)
    assert normal_cdf(normal_quantile(p)) == pytest.approx(p, rel=1e-12)


def test_shares_are_the_standard_librarys():
    z = np.array([-38.0, -5.0, 0.0, 1.96, 9.0])
    assert normal_cdf(z) == pytest.approx([NormalDist().cdf(value) for value in z], abs=1e-15)


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 79, 499, 804, 100_000])
def test_the_tails_are_scipys(freedom):
    t = np.concatenate([[0.0, 1e-12, 1e-3], np.linspace(0.1, 30, 400)])
    tails = t_two_sided(-t, np.full(len(t), float(freedom)))
    assert tails == pytest.approx(2 * student.sf(t, freedom), rel=1e-8, abs=1e-250)


def test_an_infinite_t_is_certain():
    assert t_two_sided(np.array([np.inf]), np.array([5.0])) == [0.0]


def test_critical_values_are_those_of_the_tables():
    # Fisher and Yates, table III, P = 0.05; and a whole array at once
    assert t_critical(np.array([1.0, 2.0, 10.0, 120.0])) == pytest.approx(
        [12.706, 4.303, 2.228, 1.980], abs=5e-4
    )
    assert float(t_critical(3.22)) == pytest.approx(student.ppf(0.975, 3.22), rel=1e-9)


def test_a_normal_interval_by_hand():
    # mean 2; variance (1 + 0 + 1) / 2 = 1; standard error 1 / sqrt(3); 1.96 of them
    mean = normal_interval([1.0, 2.0, 3.0])
    assert mean.value == 2
    assert mean.standard_error == pytest.approx(3**-0.5)
    assert mean.high - mean.value == pytest.approx(1.959964 * 3**-0.5)
    assert mean.value - mean.low == pytest.approx(1.959964 * 3**-0.5)
    assert normal_interval([5.0]) == Estimate(5.0, 5.0, 5.0, 0.0)


def test_wilson_is_newcombes_example():
    # Newcombe, Statistics in Medicine 17 (1998), 857: 81 of 263 is 0.2553 to 0.3662
    share = wilson_interval(81, 263)
    assert share.value == 81 / 263
    assert (share.low, share.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    # the same paper: 0 of 20 is 0 to 0.1611; 1 of 29 is 0.0061 to 0.1718
    assert (wilson_interval(0, 20).low, wilson_interval(0, 20).high) == pytest.approx(
        (0.0, 0.1611), abs=1e-4
    )
    assert wilson_interval(1, 29).low == pytest.approx(0.0061, abs=1e-4)
    assert wilson_interval(5, 5).high == 1.0


def test_a_share_in_percent_keeps_what_is_unknown():
    assert to_percent(Estimate(0.5, 0.25, 0.75, 0.125)) == Estimate(50.0, 25.0, 75.0, 12.5)
    assert to_percent(Estimate(0.5)) == Estimate(50.0)


def test_scipy_is_imported_on_first_use_only():
    command = "import sys, harness.statistics.paired; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    ("won", "n"), [(0, 60), (1, 80), (3, 50), (100, 200), (199, 200), (60, 60)]
)
def test_the_exact_interval_of_wins_is_clopper_and_pearsons(won, n):
    low, high = exact_bounds(np.repeat([1.0, 0.0], [won, n - won]))
    assert low == pytest.approx(beta.ppf(0.025, won, n - won + 1) if won else 0.0, abs=1e-9)
    assert high == pytest.approx(beta.ppf(0.975, won + 1, n - won) if won < n else 1.0, abs=1e-9)


def test_none_of_sixty_may_be_six_in_a_hundred():
    # 1 - 0.025^(1 / 60)
    assert exact_bounds(np.zeros(60)) == pytest.approx((0.0, 0.0596), abs=1e-4)


def test_nearly_equal_shares_say_no_more_of_the_others_than_equal_ones():
    # all at 2 %: another item may be at 100 %, and 60 have not been
    low, high = exact_bounds(np.full(60, 0.02))
    assert low < 0.02
    assert 0.07 < high < 0.08


def test_dependent_items_count_for_less():
    alone = exact_bounds(np.repeat([1.0, 0.0], [5, 45]))
    # contributions that vary twice as much: a quarter of the items
    contributions = 0.1 + 2 * (np.repeat([1.0, 0.0], [5, 45]) - 0.1)
    low, high = exact_bounds(contributions)
    assert low < alone[0]
    assert high > alone[1]


def test_an_interval_is_widened_and_never_narrowed():
    wide = Estimate(0.0, -1.0, 2.0, 0.5)
    assert widen_to_exact(wide, np.zeros(60)) == wide
    narrow = widen_to_exact(Estimate(0.0, 0.0, 0.0, 0.0), np.zeros(60))
    assert (narrow.low, narrow.high) == pytest.approx((0.0, 0.0596), abs=1e-4)
    percent = widen_to_exact(Estimate(0.0), np.zeros(60), (0.0, 100.0))
    assert percent.high == pytest.approx(5.96, abs=1e-2)
    assert widen_to_exact(Estimate(11.0, 11.0, 11.0), np.full(3, 11.0), (1.0, 10.0)).high == 11
