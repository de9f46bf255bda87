"""Bootstrap intervals: arithmetic, coverage, and that nothing random is left in them."""

import numpy as np
import pytest

from harness.errors import CheckError
from harness.statistics import bootstrap
from harness.statistics.bootstrap import interval, ratio_interval
from harness.statistics.resampling import bit_generator, indices, resample_weights


def test_the_mean_and_its_standard_error_are_the_textbooks():
    estimate = interval([0.0, 1.0, 1.0, 0.0], seed=0)
    assert estimate.value == 0.5
    # variance 4 * 0.25 / 3 = 1/3; standard error sqrt(1/3 / 4)
    assert estimate.standard_error == pytest.approx((1 / 12) ** 0.5)
    assert estimate.low <= estimate.value <= estimate.high


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = list(np.linspace(0, 1, 50) ** 2)
    assert interval(values, seed=3) == interval(values, seed=3)
    assert interval(values, seed=3) != interval(values, seed=4)


def test_the_stream_is_the_one_that_was_published_with():
    assert indices(10, bit_generator(0), 1).tolist() == [[6, 2, 0, 0, 8, 9, 6, 7, 5, 9]]


def test_resamples_weigh_every_item_alike():
    drawn = resample_weights(7, bit_generator(1), 20_000)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(7), abs=0.05)


def test_blocks_do_not_change_the_result(monkeypatch):
    values = list(np.linspace(0, 1, 60))
    unblocked = interval(values, seed=5)
    monkeypatch.setattr(bootstrap, "BLOCK_SIZE", 60 * 7)
    assert interval(values, seed=5) == unblocked


def test_one_value_has_no_interval():
    estimate = interval([0.25], seed=0)
    assert (estimate.value, estimate.low, estimate.high, estimate.standard_error) == (
        0.25,
        None,
        None,
        None,
    )


def test_nothing_cannot_be_averaged():
    with pytest.raises(CheckError, match="no verdict could be read"):
        interval([], seed=0)


def test_clusters_are_resampled_whole():
    values = [0.0, 0.0, 1.0, 1.0] * 25
    pairs = [i // 2 for i in range(100)]
    alone, together = interval(values, seed=0), interval(values, seed=0, clusters=pairs)
    assert together.value == alone.value
    # two equal values a cluster: half as many independent ones, sqrt(2) times the error
    assert together.standard_error == pytest.approx(2**0.5 * alone.standard_error, rel=0.05)


def test_a_ratio_is_of_sums_and_survives_empty_resamples():
    estimate = ratio_interval([3.0, 0.0, 0.0], [3.0, 1.0, 0.0], seed=0)
    assert estimate.value == 0.75
    assert 0 <= estimate.low <= estimate.high <= 1


def test_the_ends_are_widened_as_a_t_interval_of_as_many_items():
    rounds = np.linspace(-1, 1, 2001)
    low, high = bootstrap._levels(0.0, rounds, np.array([1.0, -1.0] * 5))
    # no bias, no skew; ten items: sqrt(10 / 9) * t(9, 0.975) = 1.0541 * 2.2622 = 2.3845
    assert (low, high) == pytest.approx((0.00855, 0.99145), abs=1e-5)


def test_skewed_items_move_both_ends_to_their_long_side():
    # cubes 8 - 1 - 1 = 6, squares 4 + 1 + 1 = 6
    assert bootstrap._acceleration(np.array([2.0, -1.0, -1.0])) == pytest.approx(6 / 6**1.5 / 6)
    skewed = np.array([9.0] + [-1.0] * 9)
    low, high = bootstrap._levels(0.0, np.linspace(-1, 1, 2001), skewed)
    assert 0.00855 < low < 0.5
    assert high > 0.99145


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.0, 0.0, 1.0], [0.3] * 7, [1.0, 1.0, 1.0, 0.0]])
def test_few_or_equal_values_have_an_interval_within_their_range(values):
    estimate = interval(values, seed=0)
    assert min(values) <= estimate.low + 1e-12
    assert estimate.high <= max(values) + 1e-12
    assert estimate.low <= estimate.high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(600):
        estimate = interval(rng.beta(0.5, 1.5, size=120), seed=seed, rounds=500)
        hits += estimate.low <= 0.25 <= estimate.high
    # 0.95 within three standard errors of a share of 600: 3 * sqrt(0.95 * 0.05 / 600) = 0.027
    assert 0.923 <= hits / 600 <= 0.977


def test_fewer_than_fifty_items_have_a_note():
    assert bootstrap.small_sample_note(50, "prompts") == ()
    assert bootstrap.small_sample_note(49, "prompts") == (
        "only 49 prompts: too few for an informative interval",
    )
