"""Means over seeds: coverage of their intervals, and the error rate of tests between them."""

from __future__ import annotations

import numpy as np
import pytest

from harness.statistics.intervals import widen_to_exact
from harness.statistics.paired import PromptTotals, paired_differences
from harness.statistics.seeds import (
    SeedVariance,
    effective_degrees_of_freedom,
    mean_over_seeds,
    noise_of,
)


def test_by_hand():
    # seeds 40, 50, 60: s = 10, s^2 / 3 = 33.3; prompts 3^2 = 9; together 42.33, its root 6.506
    estimate = mean_over_seeds([40.0, 50.0, 60.0], error=3.0, prompts=101)
    assert estimate.value == 50
    assert estimate.standard_error == pytest.approx(6.506, abs=1e-3)
    # t is 4.3027 with 2 degrees of freedom, 1.9840 with 100: (18.513 * 33.33 + 3.936 * 9) = 652.5
    # in logits, whose derivative at 50 is 0.04: 25.54 * 0.04 = 1.0218; 1 / (1 + e^-1.0218) = 0.7353
    assert estimate.high == pytest.approx(73.53, abs=5e-3)
    assert estimate.low == pytest.approx(100 - 73.53, abs=5e-3)


def test_one_part_alone_keeps_its_own_degrees_of_freedom():
    degrees = effective_degrees_of_freedom(
        [(np.array([4.0, 0.0]), np.array([7.0, 7.0])), (np.array([0.0, 1.0]), np.ones(2))]
    )
    assert degrees == pytest.approx([7.0, 1.0], rel=1e-3)


def scores(rng, methods, seeds, prompts, spread):
    """Points of shape (methods, seeds, prompts); all methods' truth is 50."""
    shared = rng.normal(0, 20, prompts)
    own = rng.normal(0, 10, (methods, 1, prompts))
    luck = rng.normal(0, 15, (methods, seeds, prompts))
    return 50 + shared + own + luck + rng.normal(0, spread, (methods, seeds, 1))


@pytest.mark.parametrize(("seeds", "spread"), [(2, 5.0), (3, 0.0), (3, 2.0), (3, 10.0), (5, 2.0)])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds, spread):
    rng, held, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        points = scores(rng, 1, seeds, 100, spread)[0]
        error = points.mean(axis=0).std(ddof=1) / np.sqrt(100)
        estimate = mean_over_seeds(points.mean(axis=1).tolist(), error, 100)
        held += estimate.low <= 50 <= estimate.high
    # 400 trials: 95 % less two standard errors is 92.8; wider is what the docstring admits
    assert held / trials > 0.928


def test_methods_that_differ_by_their_seeds_alone_seldom_differ_significantly():
    rng, apart, trials = np.random.default_rng(1), {True: 0, False: 0}, 400
    for _ in range(trials):
        points = scores(rng, 2, 3, 100, 5.0)
        top = points.mean(axis=1).T
        totals = PromptTotals(top, np.ones_like(top))
        seed_variance = SeedVariance.of(points.mean(axis=2).tolist())
        for repeated in (None, seed_variance):
            comparison = paired_differences(totals, seed=0, rounds=200, seed_variance=repeated)
            apart[repeated is None] += comparison.p[0, 1] < 0.05
    assert apart[False] / trials < 0.08
    assert apart[True] / trials > 0.15  # prompts alone would have been sure of noise


def test_no_method_differs_from_itself():
    top = np.arange(20.0).reshape(10, 2)
    seed_variance = SeedVariance(np.array([4.0, 9.0]), np.array([2.0, 2.0]), np.zeros(2))
    comparison = paired_differences(
        PromptTotals(top, np.ones_like(top)), seed=0, rounds=50, seed_variance=seed_variance
    )
    assert comparison.error.diagonal().tolist() == [0, 0]
    assert comparison.error[0, 1] == pytest.approx(13**0.5)  # both move alike: the seeds alone


def test_prompts_and_both_methods_seeds_add_to_the_variance_of_a_difference():
    rng = np.random.default_rng(0)
    totals = PromptTotals(rng.normal(0, 3, (40, 2)), np.ones((40, 2)))
    seed_variance = SeedVariance(np.array([0.04, 0.09]), np.array([2.0, 4.0]), np.zeros(2))
    prompts_alone = paired_differences(totals, seed=0, rounds=200)
    comparison = paired_differences(totals, seed=0, rounds=200, seed_variance=seed_variance)
    error = prompts_alone.error[0, 1]
    assert error < 0.9  # so that its square differs from other powers
    assert comparison.error[0, 1] == pytest.approx((error**2 + 0.04 + 0.09) ** 0.5)
    combined = effective_degrees_of_freedom(
        [(np.array([v]), np.array([f])) for v, f in ((error**2, 39.0), (0.04, 2.0), (0.09, 4.0))]
    )
    assert comparison.degrees_of_freedom[0, 1] == pytest.approx(combined[0])


def test_a_single_seed_takes_its_variance_from_the_methods_of_several():
    seeds = SeedVariance.of(
        [[50.0], [40.0, 60.0], [49.0, 50.0, 50.0, 51.0], [80.0], [30.0]],
        [True, True, True, True, False],
    )
    # of 40 and 60: 200 / 2; of 49 to 51: (1 + 0 + 0 + 1) / 3 / 4; answers of a file do not vary
    assert seeds.variance[[1, 2, 4]] == pytest.approx([100.0, 1 / 6, 0.0])
    # pooled at 50, where a point is 0.04 logits: (200 + 2) / 4 = 50.5; 64 % of the points at 80
    assert seeds.variance[[0, 3]] == pytest.approx([50.5, 50.5 * 0.64**2])
    assert seeds.degrees_of_freedom.tolist() == [4, 1, 3, 4, 4]


def test_without_any_method_of_several_seeds_the_variance_is_not_known():
    assert np.isnan(SeedVariance.of([[50.0], [60.0]]).variance).all()


@pytest.mark.parametrize("values", [[99.0, 60.0], [81.9, 63.5], [0.5, 0.1], [100.0, 0.0]])
def test_an_interval_over_seeds_lies_within_its_bounds(values):
    estimate = mean_over_seeds(values, error=1.0, prompts=100)
    assert 0 <= estimate.low < estimate.value < estimate.high <= 100
    rating = mean_over_seeds([9.9, 9.0], error=0.1, prompts=80, bounds=(1.0, 10.0))
    assert 1 <= rating.low < rating.high <= 10


def test_an_estimate_at_its_bound_has_an_interval_within_it():
    estimate = mean_over_seeds([0.0, 0.0], error=0.0, prompts=100)
    assert (estimate.low, estimate.high) == (0, 0)  # `widen_to_exact` adds what 100 prompts leave


@pytest.mark.parametrize(("logit", "spread"), [(0.0, 0.5), (3.0, 0.5), (-4.0, 0.3)])
def test_intervals_of_seeds_that_vary_in_logits_hold_the_truth(logit, spread):
    rng, held = np.random.default_rng(2), 0
    truth = 100 * (1 / (1 + np.exp(-logit - spread * rng.normal(size=200_000)))).mean()
    for _ in range(300):
        rates = 1 / (1 + np.exp(-logit - spread * rng.normal(size=2)))
        wins = 100.0 * (rng.random((2, 200)) < rates[:, None])
        by_prompt = wins.mean(axis=0)
        error = by_prompt.std(ddof=1) / np.sqrt(200)
        mean = mean_over_seeds(wins.mean(axis=1).tolist(), error, 200)
        estimate = widen_to_exact(mean, by_prompt, (0.0, 100.0))
        held += estimate.low <= truth <= estimate.high
    assert held / 300 >= 0.93


def test_seeds_that_agree_leave_the_t_interval_over_prompts():
    # five prompts: t is 2.7764 with 4 degrees of freedom
    estimate = mean_over_seeds([50.0, 50.0], error=2.0, prompts=5)
    # to first order; 5.5528 points are 0.2221 logits, and 1 / (1 + e^-0.2221) = 0.5553
    assert estimate.high - 50 == pytest.approx(5.530, abs=1e-3)
    assert estimate.standard_error == 2.0


def test_the_noise_of_answers_is_what_neither_prompt_nor_seed_explains():
    # means of seeds 3 and 7, of prompts 2, 6 and 7, of all 5
    left = np.array([[1.0, 1.0, -2.0], [-1.0, -1.0, 2.0]])
    contributions = left + np.array([[3.0], [7.0]]) + np.array([2.0, 6.0, 7.0]) - 5.0
    assert noise_of(contributions) == pytest.approx(12 / (1 * 2) / 6)
    assert noise_of(contributions - left) == pytest.approx(0.0, abs=1e-12)
    assert noise_of(contributions[:1]) == noise_of(contributions[:, :1]) == 0.0


def test_noise_in_both_variances_counts_once():
    mean = mean_over_seeds([40.0, 50.0, 60.0], error=3.0, prompts=101, noise=5.0)
    assert mean.standard_error == pytest.approx((9 - 5 + 100 / 3) ** 0.5)
    rng = np.random.default_rng(0)
    totals = PromptTotals(rng.normal(0, 3, (40, 2)), np.ones((40, 2)))
    variance, freedom = np.array([0.4, 0.9]), np.array([2.0, 4.0])
    error = paired_differences(totals, seed=0, rounds=200).error[0, 1]
    noise = np.array([0.05, 0.1])
    seeds = SeedVariance(variance, freedom, noise)
    comparison = paired_differences(totals, seed=0, rounds=200, seed_variance=seeds)
    assert comparison.error[0, 1] == pytest.approx((error**2 - 0.15 + 1.3) ** 0.5)
    parts = [(error**2 - 0.15, 39.0), (0.4, 2.0), (0.9, 4.0)]
    assert comparison.components(0, 1) == [pytest.approx(pair) for pair in parts]


def test_nothing_over_seeds_is_surer_than_over_prompts_alone():
    """Two seeds can agree by chance; their answers' noise is all that varies."""
    mean = mean_over_seeds([50.0, 50.0], error=2.0, prompts=101, noise=4.0)
    alone = mean_over_seeds([50.0, 50.0], error=2.0, prompts=101)
    assert (mean.low, mean.high, mean.standard_error) == (alone.low, alone.high, 2.0)
    totals = PromptTotals(np.random.default_rng(0).normal(0, 3, (40, 2)), np.ones((40, 2)))
    prompts = paired_differences(totals, seed=0, rounds=200)
    agreeing = SeedVariance(np.zeros(2), np.ones(2), np.full(2, prompts.error[0, 1] ** 2 / 2))
    comparison = paired_differences(totals, seed=0, rounds=200, seed_variance=agreeing)
    assert comparison.p[0, 1] == prompts.p[0, 1]


def test_a_single_seed_takes_the_noise_of_the_others_as_well():
    estimates = [[50.0], [40.0, 60.0], [49.0, 51.0]]
    seeds = SeedVariance.of(estimates, noise=[0.0, 3.0, 1.0])
    # of one seed: 2 x 3 and 2 x 1, pooled with one degree of freedom each
    assert seeds.noise == pytest.approx([4.0, 3.0, 1.0], rel=1e-3)
