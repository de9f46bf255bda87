"""Simulated benchmarks: 95 % intervals hold the truth 93.5 to 96.5 times in a hundred.

All benchmarks of a kind share the resamples of one seed, as real ones do that are scored with the
default seed. Large benchmarks, whose intervals hardly differ from a normal one, are marked
`faults`; for small and skewed ones plain percentiles fail, as a test below shows.
"""

import functools

import numpy as np
import pytest

from harness.statistics import bootstrap
from harness.statistics.bootstrap import interval, ratio_interval
from harness.statistics.resampling import bit_generator, resample_weights

SIMULATIONS = 1000


@pytest.fixture(autouse=True)
def _draws_are_made_once(monkeypatch):
    @functools.cache
    def samples(n, rounds):
        return resample_weights(n, bit_generator(0), rounds)

    def once(n, _, rounds):
        assert rounds == 2000  # all in one block: another would need other draws
        return samples(n, rounds)

    monkeypatch.setattr(bootstrap, "resample_weights", once)


def missed(estimates, truth):
    """Return the share of intervals that lie above the truth, and of those below it."""
    low, high = np.array([(estimate.low, estimate.high) for estimate in estimates]).T
    return np.mean(low > truth), np.mean(high < truth)


def check(estimates, truth):
    above, below = missed(estimates, truth)
    assert 0.935 <= 1 - above - below <= 0.965
    # 2.5 % at each end; four standard errors of such a share of 1,000 are 2 %
    assert max(above, below) <= 0.045


def ratings(rng, shape, level):
    """Return whole ratings of 1 to 10 of questions with two turns, shape (*shape, 2).

    A question's turns share half of their variance; some turns fail, whatever the question.
    """
    question, turn = rng.normal(size=(*shape, 1)), rng.normal(size=(*shape, 2))
    rating = level + 2.2 * np.sqrt(0.5) * (question + turn)
    failed = rng.random((*shape, 2)) < 0.08
    return np.clip(np.round(np.where(failed, rng.integers(1, 4, (*shape, 2)), rating)), 1, 10)


@pytest.mark.parametrize("level", [4.0, 7.0, 10.0])
def test_mean_ratings_of_80_questions_with_two_turns(level):
    rng = np.random.default_rng(1)
    truth = ratings(rng, (1_000_000,), level).mean()
    pairs = [i // 2 for i in range(160)]
    samples = ratings(rng, (SIMULATIONS, 80), level).reshape(SIMULATIONS, 160)
    check((interval(row, seed=0, clusters=pairs) for row in samples), truth)


def test_mean_ratings_of_a_category_of_ten_questions():
    rng = np.random.default_rng(2)
    truth = ratings(rng, (1_000_000,), 8.5).mean()
    pairs = [i // 2 for i in range(20)]
    samples = ratings(rng, (SIMULATIONS, 10), 8.5).reshape(SIMULATIONS, 20)
    check((interval(row, seed=0, clusters=pairs) for row in samples), truth)


@pytest.mark.parametrize(
    ("prompts", "mean"),
    [
        pytest.param(805, 0.5, marks=pytest.mark.faults),
        pytest.param(805, 0.05, marks=pytest.mark.faults),
        pytest.param(200, 0.25, marks=pytest.mark.faults),
        (200, 0.05),
        (100, 0.5),
        (100, 0.1),
    ],
)
def test_win_rates_of_preferences_that_are_nearly_0_or_1(prompts, mean):
    rng = np.random.default_rng(3)
    samples = rng.beta(0.4 * mean, 0.4 * (1 - mean), size=(SIMULATIONS, prompts))
    check((interval(row, seed=0) for row in samples), mean)


def test_plain_percentiles_would_not_do(monkeypatch):
    monkeypatch.setattr(bootstrap, "_levels", lambda *_: bootstrap.PERCENTILE_LEVELS)
    samples = np.random.default_rng(3).beta(0.4 * 0.05, 0.4 * 0.95, size=(SIMULATIONS, 100))
    above, below = missed((interval(row, seed=0) for row in samples), 0.05)
    assert below > 0.06
    assert 1 - above - below < 0.935


def games(rng, skill):
    """Return points and weights of two games a prompt, a strong verdict counting three times."""
    apart = skill[..., None] + rng.logistic(size=(*skill.shape, 2))
    weight = np.where(np.abs(apart) > 2, 3.0, 1.0)
    return ((apart > 0) * weight).sum(axis=-1), weight.sum(axis=-1)


@pytest.mark.parametrize("prompts", [100, pytest.param(500, marks=pytest.mark.faults)])
def test_win_rates_of_prompts_with_two_weighted_games(prompts):
    rng = np.random.default_rng(4)
    won, weight = games(rng, rng.normal(-0.8, 1.5, size=1_000_000))
    truth = won.sum() / weight.sum()
    samples = zip(*games(rng, rng.normal(-0.8, 1.5, size=(SIMULATIONS, prompts))), strict=True)
    check((ratio_interval(*rows, seed=0) for rows in samples), truth)


def share(rows, truth):
    """Return how often intervals with the bounds of shares hold the truth."""
    above, below = missed([interval(row, seed=0, bounds=(0.0, 1.0)) for row in rows], truth)
    return 1 - above - below


@pytest.mark.parametrize(
    ("prompts", "rate"),
    [
        *((n, rate) for n in (50, 80) for rate in (0.01, 0.02, 0.05, 0.5, 0.98)),
        *(
            pytest.param(n, rate, marks=pytest.mark.faults)
            for n in (200, 805)
            for rate in (0.01, 0.02, 0.05, 0.5, 0.98)
        ),
    ],
)
def test_wins_and_losses_where_nearly_all_agree(prompts, rate):
    rng = np.random.default_rng(5)
    rows = (rng.random((400, prompts)) < rate).astype(float)
    assert share(rows, rate) >= 0.93


def test_preferences_where_nearly_all_agree():
    rows = np.random.default_rng(6).beta(0.4 * 0.02, 0.4 * 0.98, size=(400, 50))
    assert share(rows, 0.02) >= 0.93


@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05])
def test_eighty_prompts_with_two_weighted_games_of_which_few_are_won(rate):
    rng = np.random.default_rng(7)

    def draw(count):
        first = rng.random((count, 80)) < rate
        second = np.where(rng.random((count, 80)) < 0.7, first, rng.random((count, 80)) < rate)
        won = np.stack([first, second], axis=-1)
        weight = np.where(rng.random(won.shape) < np.where(won, 0.1, 0.6), 3.0, 1.0)
        return (won * weight).sum(axis=-1), weight.sum(axis=-1)

    won, weight = draw(5000)
    truth = won.sum() / weight.sum()
    pairs = list(zip(*draw(400), strict=True))
    with_bounds = [ratio_interval(*pair, seed=0, bounds=(0.0, 1.0)) for pair in pairs]
    assert 1 - sum(missed(with_bounds, truth)) >= 0.93
    without = [ratio_interval(*pair, seed=0) for pair in pairs]
    assert 1 - sum(missed(without, truth)) < 0.94
