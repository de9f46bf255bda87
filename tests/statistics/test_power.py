"""Minimum detectable differences: the noncentral t, and simulations of the very test."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nct
from scipy.stats import t as student

from harness.statistics.paired import PromptTotals, holm_matrix, paired_differences
from harness.statistics.power import (
    VarianceComponent,
    identical_marked,
    median_detectable,
    minimum_detectable_difference,
    power,
)
from harness.statistics.seeds import SeedVariance, noise_of


@pytest.mark.parametrize("freedom", [4, 49, 804])
@pytest.mark.parametrize("tests", [1, 6, 15])
def test_with_one_variance_the_power_is_that_of_the_noncentral_t(freedom, tests):
    components = [VarianceComponent(4.0, freedom)]
    difference = minimum_detectable_difference(components, tests)
    assert power(difference, components, tests) == pytest.approx(0.8, abs=1e-6)
    critical, shift = student.ppf(1 - 0.025 / tests, freedom), difference / 2
    exact = nct.sf(critical, freedom, shift) + nct.cdf(-critical, freedom, shift)
    assert exact == pytest.approx(0.8, abs=1e-3)


def test_with_many_degrees_of_freedom_it_is_the_textbook_one():
    # z(0.975) + z(0.8); and z(1 - 0.025 / 6) + z(0.8) for six tests
    many = [VarianceComponent(1.0, 1e6)]
    assert minimum_detectable_difference(many) == pytest.approx(1.95996 + 0.84162, abs=1e-3)
    assert minimum_detectable_difference(many, 6) == pytest.approx(2.63826 + 0.84162, abs=1e-3)


def simulated(rng, counts, spread, prompts=100, simulations=500):
    """Return the power at the minimum detectable difference of methods of several seeds."""
    noise = 40.0
    error = noise**2 / prompts  # of one seed's figure; all that varies over prompts
    components = [
        VarianceComponent(0.0, prompts - 1),
        *(VarianceComponent((spread**2 + error) / count, count - 1) for count in counts[:2]),
    ]
    tests = len(counts) * (len(counts) - 1) // 2
    apart = minimum_detectable_difference(components, tests)
    truth, detected = [0.0, -apart, *[-apart / 2] * (len(counts) - 2)], 0
    for _ in range(simulations):
        own = [
            mean + rng.normal(0, spread, (n, 1)) + rng.normal(0, noise, (n, prompts))
            for mean, n in zip(truth, counts, strict=True)
        ]
        points = np.stack([seeds.mean(axis=0) for seeds in own], axis=1)
        variance = SeedVariance.of(
            [seeds.mean(axis=1).tolist() for seeds in own], noise=[noise_of(o) for o in own]
        )
        totals = PromptTotals(points, np.ones_like(points))
        tested = paired_differences(totals, seed=0, rounds=100, seed_variance=variance)
        detected += holm_matrix(tested)[0, 1] <= 0.05
    return detected / simulations


@pytest.mark.parametrize(("counts", "spread"), [((2, 2), 5.0), ((3, 3), 0.0), ((5, 3), 2.0)])
def test_means_over_seeds_are_found_as_often_as_it_says(counts, spread):
    # 500 data sets: two standard errors of 80 % are 3.6 points
    assert simulated(np.random.default_rng(0), counts, spread) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("methods", [2, 4])
def test_the_difference_that_is_printed_is_found_as_often_as_it_says(methods):
    """Under Holm over all pairs; the normal quantile without a correction gives 45 % for four."""
    rng, detected, uncorrected = np.random.default_rng(1), 0, 0
    pairs = np.triu(np.ones((methods, methods), dtype=bool), 1)

    def tested(apart):
        shift = np.array([0.0, -apart, *[-apart / 2] * (methods - 2)])
        points = rng.normal(0, 20, (120, 1)) + rng.normal(0, 30, (120, methods)) + shift
        return paired_differences(PromptTotals(points, np.ones_like(points)), seed=0, rounds=100)

    printed = np.median([median_detectable(tested(0.0), pairs) for _ in range(40)])
    for _ in range(500):
        detected += holm_matrix(tested(printed))[0, 1] <= 0.05
        uncorrected += holm_matrix(tested(2.8 * 30 * (2 / 120) ** 0.5))[0, 1] <= 0.05
    assert detected / 500 == pytest.approx(0.8, abs=0.06)
    assert methods == 2 or uncorrected / 500 < 0.65


def test_nobody_is_detected_where_nobody_is_tested():
    points = np.array([[1.0, 0.0], [1.0, 0.0]])
    weight = np.array([[1.0, 0.0], [0.0, 1.0]])
    comparison = paired_differences(PromptTotals(points * weight, weight), seed=0, rounds=50)
    assert median_detectable(comparison, np.triu(np.ones((2, 2), dtype=bool), 1)) is None


def test_untested_pairs_are_not_in_the_correction():
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (60, 2))
    table = np.hstack([points, np.zeros((60, 2))])
    weight = np.hstack([np.ones((60, 2)), np.zeros((60, 2))])
    comparison = paired_differences(PromptTotals(table, weight), seed=0, rounds=200)
    assert holm_matrix(comparison)[0, 1] == pytest.approx(comparison.p[0, 1])


def test_two_runs_of_one_method_are_marked_as_often_as_the_note_says():
    """200 prompts, won or lost, seeds 0.1 logits apart: 13.3 % of 4,000 simulations."""
    rng, marked, errors = np.random.default_rng(3), 0, []
    for _ in range(1000):
        rates = 1 / (1 + np.exp(-0.1 * rng.normal(size=2)))
        shared = np.sqrt(0.3) * rng.normal(size=(200, 1))
        latent = shared + np.sqrt(0.7) * rng.normal(size=(200, 2))
        points = 100.0 * (latent < np.array([student.ppf(rate, 1e6) for rate in rates]))
        totals = PromptTotals(points, np.ones_like(points))
        tested = paired_differences(totals, seed=0, rounds=100)
        marked += tested.p[0, 1] <= 0.05
        errors.append(tested.error[0, 1])
    # three standard errors of 13 % are 3.2 points
    assert 0.098 <= marked / 1000 <= 0.172
    by_formula = identical_marked(float(np.median(errors)), 199, 50.0, 0.1, (0.0, 100.0))
    assert by_formula == pytest.approx(0.125, abs=0.01)


def test_without_variation_between_seeds_five_in_a_hundred_are_marked():
    assert identical_marked(3.0, 199, 50.0, 0.0, (0.0, 100.0)) == pytest.approx(0.05)
