"""Paired tests: by hand, against a textbook, and how often they err where nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from harness.statistics import paired
from harness.statistics.paired import (
    Differences,
    PromptTotals,
    differs_from_baseline,
    holm,
    holm_matrix,
    p_values,
    paired_differences,
    top_group,
)


def means(values: np.ndarray) -> PromptTotals:
    """Contestants whose figures are means; NaN is a prompt without a verdict."""
    known = ~np.isnan(values)
    return PromptTotals(np.where(known, values, 0.0), known.astype(float))


def test_the_difference_and_its_error_are_those_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    ours = rng.uniform(size=400)
    theirs = 0.6 * ours + 0.4 * rng.uniform(size=400) - 0.02
    comparison = paired_differences(means(np.stack([ours, theirs], axis=1)), seed=1, rounds=4000)
    assert comparison.value[0, 1] == pytest.approx((ours - theirs).mean())
    assert comparison.value[1, 0] == -comparison.value[0, 1]
    textbook = (ours - theirs).std(ddof=1) / 20  # sqrt(400)
    assert comparison.error[0, 1] == pytest.approx(textbook, rel=0.03)
    assert comparison.p[0, 1] == pytest.approx(ttest_rel(ours, theirs).pvalue, abs=0.01)


def test_the_error_of_few_prompts_is_that_of_a_t_test_too():
    # five differences 0.1, 0.2, 0.3, 0.4, 0.5: s = 0.1581, s / sqrt(5) = 0.0707; without the factor
    # sqrt(5 / 4) it would be 0.0632
    values = np.stack([np.arange(1, 6) / 10 + 0.5, np.full(5, 0.5)], axis=1)
    comparison = paired_differences(means(values), seed=1, rounds=20_000)
    assert comparison.error[0, 1] == pytest.approx(0.0707, rel=0.02)
    assert comparison.degrees_of_freedom[0, 1] == 4
    assert comparison.p[0, 1] == pytest.approx(ttest_rel(*values.T).pvalue, rel=0.15)


def test_two_shared_prompts_have_one_degree_of_freedom():
    # differences 0.2 and 0.4: s / sqrt(2) = 0.1
    values = np.array([[0.7, 0.5], [0.9, 0.5]])
    comparison = paired_differences(means(values), seed=1, rounds=20_000)
    assert comparison.error[0, 1] == pytest.approx(0.1, rel=0.02)
    assert comparison.degrees_of_freedom[0, 1] == 1


def test_two_are_compared_on_shared_prompts_only():
    nan = np.nan
    values = np.array([[1.0, 0.0], [0.5, 0.0], [nan, 1.0], [1.0, nan], [0.5, 1.0]])
    comparison = paired_differences(means(values), seed=0)
    # shared are prompts 0, 1 and 4: (1 + ½ + ½) / 3 - (0 + 0 + 1) / 3
    assert comparison.value[0, 1] == pytest.approx(1 / 3)
    assert comparison.shared[0, 1] == 3
    assert comparison.shared[0, 0] == 4


def test_pairs_with_gaps_and_pairs_without_are_counted_alike():
    rng = np.random.default_rng(1)
    values = rng.uniform(size=(200, 3))
    complete = paired_differences(means(values), seed=0)
    gap = np.vstack([values, [[np.nan, np.nan, 0.5]]])  # only the third has one prompt more
    gapped = paired_differences(means(gap), seed=0)
    assert gapped.value[0, 1] == pytest.approx(complete.value[0, 1])
    assert gapped.error[0, 1] == pytest.approx(complete.error[0, 1], rel=0.1)


def test_both_ways_to_compare_agree_to_the_last_digits():
    # six resamples, so that a divisor of 5 differs from 4, 6 and 7
    rng = np.random.default_rng(7)
    totals = PromptTotals(rng.uniform(size=(30, 4)), rng.integers(1, 4, size=(30, 4)).astype(float))
    resamples = rng.multinomial(30, np.full(30, 1 / 30), 6).astype(float)
    complete = paired._compare_complete(totals, resamples)
    incomplete = paired._compare_incomplete(totals, resamples)
    ratios = (resamples @ totals.points) / (resamples @ totals.weight)
    by_hand = (ratios[:, :, None] - ratios[:, None, :]).std(axis=0, ddof=1)
    np.testing.assert_allclose(complete[0], incomplete[0], atol=1e-12)
    np.testing.assert_allclose(complete[1], by_hand, atol=1e-8)
    np.testing.assert_allclose(incomplete[1], by_hand, atol=1e-8)


def test_a_ratio_of_sums_weighs_its_prompts():
    totals = PromptTotals(np.array([[3.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 1.0], [1.0, 1.0]]))
    comparison = paired_differences(totals, seed=0)
    assert comparison.value[0, 1] == pytest.approx(3 / 4 - 1 / 2)


def test_totals_of_mappings_have_every_prompt_and_zero_where_one_is_missing():
    totals = PromptTotals.of(
        [{"a": (3.0, 4.0), "b": (1.0, 1.0)}, {"c": (0.5, 1.0), "a": (0.0, 2.0)}]
    )
    assert totals.points.tolist() == [[3.0, 0.0], [1.0, 0.0], [0.0, 0.5]]
    assert totals.weight.tolist() == [[4.0, 2.0], [1.0, 0.0], [0.0, 1.0]]
    assert totals.known.tolist() == [[True, True], [True, False], [False, True]]
    assert PromptTotals.of([{}, {}]).points.shape == (0, 2)


def test_the_matrix_of_adjusted_p_is_symmetric_with_ones_on_its_diagonal():
    # pairs 01, 02, 12 with p 0.04, 0.01, 0.03: Holm by hand below
    p = np.array([[1.0, 0.04, 0.01], [0.04, 1.0, 0.03], [0.01, 0.03, 1.0]])
    comparison = Differences(*[np.zeros((3, 3))] * 4, p)
    assert holm_matrix(comparison) == pytest.approx(
        np.array([[1.0, 0.06, 0.03], [0.06, 1.0, 0.06], [0.03, 0.06, 1.0]])
    )


def test_contestants_without_shared_prompts_do_not_differ_significantly():
    values = np.array([[1.0, np.nan], [1.0, np.nan], [np.nan, 0.0], [np.nan, 0.0]])
    comparison = paired_differences(means(values), seed=0)
    assert np.isnan(comparison.value[0, 1])
    assert comparison.p[0, 1] == 1


def test_differences_without_spread_are_certain_or_none():
    comparison = paired_differences(means(np.array([[1.0, 0.0, 1.0]] * 9)), seed=0)
    assert comparison.p[0].tolist() == [1.0, 0.0, 1.0]


def test_holm_by_hand():
    # 0.01 × 3; then max(0.03, 0.03 × 2) = 0.06; then max(0.06, 0.04 × 1)
    assert holm(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([])).tolist() == []


def test_a_group_at_the_top_and_who_differs_from_the_named_one():
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.1, size=(300, 4))
    comparison = paired_differences(means(0.5 + noise + [0.2, 0.195, 0.1, 0.0]), seed=0)
    assert top_group(comparison, 0).tolist() == [True, True, False, False]
    assert differs_from_baseline(comparison, 2).tolist() == [True, True, False, True]


@pytest.mark.parametrize("kind", ["preferences", "labels"])
def test_where_nothing_differs_one_test_in_twenty_says_so(kind):
    """4000 data sets of 200 prompts, two contestants that win alike: the rate is 4 to 6 %."""
    rng = np.random.default_rng(3)
    sets, prompts = 4000, 200
    hard = rng.normal(size=(prompts, sets, 1))
    scores = hard + rng.normal(size=(prompts, sets, 2))
    values = 1 / (1 + np.exp(-3 * scores)) if kind == "preferences" else (scores > 0).astype(float)
    resamples = np.random.default_rng(4).multinomial(prompts, np.full(prompts, 1 / prompts), 1000)
    difference = values[:, :, 0] - values[:, :, 1]
    error = (resamples @ difference / prompts).std(axis=0, ddof=1) * np.sqrt(
        prompts / (prompts - 1)
    )
    p = p_values(difference.mean(axis=0), error, np.full(sets, float(prompts - 1)))
    assert 0.04 <= (p <= 0.05).mean() <= 0.06


def test_a_family_of_equals_is_torn_apart_in_at_most_one_case_of_twenty():
    """6 equal contestants, 300 times: the best, chosen by looking, has all as its group.

    Without Holm's correction over all pairs, p < 0.05 of the best against the worst of 6 in more
    than a third of the cases; 5 % of 300 plus three standard errors are 26.
    """
    rng = np.random.default_rng(5)
    torn = significant = 0
    for _ in range(300):
        values = rng.normal(size=(60, 1)) + rng.normal(size=(60, 6))
        comparison = paired_differences(means(values), seed=0, rounds=200)
        torn += not top_group(comparison, int(np.argmax(values.mean(axis=0)))).all()
        significant += differs_from_baseline(comparison, 0).any()
    assert torn <= 26
    assert significant <= 26


@pytest.mark.parametrize("contestants", [40, pytest.param(200, marks=pytest.mark.faults)])
def test_many_contestants_are_compared_on_805_prompts(contestants):
    rng = np.random.default_rng(6)
    values = rng.uniform(size=(805, contestants))
    values[rng.uniform(size=values.shape) < 0.001] = np.nan
    comparison = paired_differences(means(values), seed=0)
    assert top_group(comparison, 0).shape == (contestants,)
