"""An arena's analysis: by hand, against scikit-learn and the games' solver, and on known truths."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks.arena import covered, draw, truth
from harness.errors import CheckError
from harness.statistics import arena, hodge, nash_averaging, pairwise
from harness.statistics.bradley_terry import ELO, bradley_terry, davidson
from harness.statistics.nash_averaging import nash_mixture, nash_mixtures, pool_exploitability
from harness.statistics.pairwise import PairwisePreferences, all_pairs
from harness.statistics.zero_sum import exploitability, solve_original
from harness.theory.games import complete

ROCK_PAPER_SCISSORS = np.array([[0.5, 0.1, 0.8], [0.9, 0.5, 0.1], [0.2, 0.9, 0.5]])


def preferences(values, names="abcdefgh") -> PairwisePreferences:
    values = np.asarray(values, dtype=float)
    count = int((1 + np.sqrt(1 + 8 * values.shape[1])) / 2)
    return PairwisePreferences(tuple(names[:count]), all_pairs(count), values)


def random_games(rows: int, actions: int) -> np.ndarray:
    return complete(np.triu(np.random.default_rng(0).random((rows, actions, actions)), 1))


# --- win rates


def test_win_rates_by_hand_with_a_missing_comparison():
    # a against b: 1, ½, missing; a against c: 0, 0, 1; b against c: ½ each
    arena_ = preferences([[1, 0, 0.5], [0.5, 0, 0.5], [np.nan, 1, 0.5]])
    totals = pairwise.resampled_totals(arena_, seed=0, rounds=50)
    rates = pairwise.estimate_win_rates(arena_, totals)
    expected = [[0.5, 0.75, 1 / 3], [0.25, 0.5, 0.5], [2 / 3, 0.5, 0.5]]
    assert rates.value == pytest.approx(np.array(expected))
    assert rates.count[0].tolist() == [0, 2, 3]
    assert np.all(rates.low <= rates.value)
    assert np.all(rates.value <= rates.high)
    assert np.allclose(rates.low, 1 - rates.high.T)
    assert not rates.significant.any()


def test_a_resample_weighs_the_same_prompts_in_every_pair():
    values = np.random.default_rng(0).random((40, 1))
    same = preferences(np.repeat(values, 3, axis=1))
    totals = pairwise.resampled_totals(same, seed=3, rounds=20)
    assert np.array_equal(totals.rates[:, 0], totals.rates[:, 2])
    assert np.ptp(totals.rates[1:, 0]) > 0


def test_few_prompts_are_never_significant_however_much_they_agree():
    # five wins of five: a sign test gives 2 / 2^5 = .0625 at best
    rates = arena.analyse(preferences(np.ones((5, 1)))).win_rates
    assert rates.p[0, 1] == 0.0625
    assert arena.analyse(preferences(np.ones((8, 1)))).win_rates.significant[0, 1]


def test_holms_correction_counts_every_pair():
    rng = np.random.default_rng(0)
    values = (rng.random((100, 3)) < [0.62, 0.5, 0.5]).astype(float)
    single = arena.analyse(preferences(values[:, :1])).win_rates.p[0, 1]
    triple = arena.analyse(preferences(values)).win_rates.p[0, 1]
    assert triple == pytest.approx(min(1, 3 * single))


def test_an_arena_needs_comparisons_of_every_pair_that_it_names():
    with pytest.raises(CheckError, match="no comparison of a with c could be parsed"):
        preferences([[1, np.nan, 0], [0, np.nan, 1]])
    with pytest.raises(CheckError, match="two contestants"):
        PairwisePreferences(("a",), all_pairs(1), np.zeros((3, 0)))


# --- ratings


def test_ratings_are_those_of_a_logistic_regression():
    rng = np.random.default_rng(0)
    wins = np.triu(rng.integers(1, 40, (5, 5)), 1) + np.tril(rng.integers(1, 40, (5, 5)), -1)
    (ratings,) = bradley_terry(wins[None].astype(float)).ratings
    first, second = np.nonzero(wins)
    rows = np.eye(5)[first] - np.eye(5)[second]
    features, labels = np.concatenate([rows, -rows]), np.repeat([1, 0], len(rows))
    weights = np.tile(wins[first, second], 2)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000)
    (theirs,) = model.fit(features, labels, sample_weight=weights).coef_
    assert ratings == pytest.approx(theirs - theirs.mean(), abs=1e-6)


def test_ratings_recover_those_that_made_the_win_rates():
    ratings = np.array([1.0, 0.2, -0.4, -0.8])
    wins = 1 / (1 + np.exp(ratings - ratings[:, None]))
    fits = bradley_terry((wins * (1 - np.eye(4)))[None])
    assert fits.ratings[0] == pytest.approx(ratings, abs=1e-9)
    assert fits.finite.all()
    assert pytest.approx(400) == ELO * np.log(10)


def test_davidsons_model_recovers_ratings_and_the_weight_of_ties():
    ratings, weight = np.array([0.9, 0.1, -1.0]), 0.7
    half = (ratings[:, None] - ratings) / 2
    total = np.exp(half) + np.exp(-half) + weight
    off = 1 - np.eye(3)
    fits = davidson((np.exp(half) / total * off)[None], (weight / total * off)[None])
    assert fits.ratings[0] == pytest.approx(ratings, abs=1e-8)
    assert fits.tie_weight == pytest.approx([weight], abs=1e-8)


def test_a_contestant_that_wins_everything_has_a_finite_rating_and_is_marked():
    wins = np.array([[0, 10, 10], [0, 0, 6], [0, 4, 0]], dtype=float)
    fits = bradley_terry(wins[None])
    assert not fits.finite[0]
    assert 5 < fits.ratings[0, 0] < 15


# --- cycles


def test_the_cyclic_part_by_hand():
    # log-odds 1 around a circle: no potential; added to a ladder, the ladder is the potential
    pairs, circle = all_pairs(3), np.array([1.0, -1.0, 1.0])
    ladder = np.array([0.5, 1.0, 0.5])
    circular = hodge.decompose(circle, pairs, np.ones(3), 3)
    assert circular.share == pytest.approx(1)
    mixed = hodge.decompose(circle + ladder, pairs, np.ones(3), 3)
    assert mixed.potential == pytest.approx([0.5, 0, -0.5])
    assert mixed.residual == pytest.approx(circle)
    assert mixed.share == pytest.approx(3 / 4.5)  # 3 ÷ (3 + .25 + 1 + .25)
    assert hodge.decompose(0 * circle, pairs, np.ones(3), 3).share == 0


def test_the_strongest_cycle_is_the_one_whose_weakest_win_is_strongest():
    matrix = np.full((5, 5), 0.5)
    for i, j, rate in (
        (0, 1, 0.9),
        (1, 2, 0.9),
        (2, 0, 0.55),
        (2, 3, 0.7),
        (3, 4, 0.7),
        (4, 2, 0.6),
    ):
        matrix[i, j], matrix[j, i] = rate, 1 - rate
    cycle = hodge.strongest_cycle(matrix, 1 - np.eye(5))
    assert sorted(cycle.members) == [2, 3, 4]
    assert cycle.weakest == 0.6
    assert hodge.strongest_cycle(truth("transitive", 4), 1 - np.eye(4)) is None


def test_the_test_of_transitivity_rejects_as_often_as_it_says_and_finds_cycles():
    rng, rejected = np.random.default_rng(0), {"transitive": 0, "cyclic": 0}
    for kind in rejected:
        matrix = truth(kind, 6)
        for number in range(100):
            sample = draw(matrix, 150, rng)
            totals = pairwise.resampled_totals(sample, seed=number, rounds=100)
            rejected[kind] += arena.estimate_cycles(sample, totals).p <= 0.05
    assert rejected["transitive"] <= 11  # 5 expected; 12 or more with p = .004
    assert rejected["cyclic"] == 100


# --- Nash


def test_nash_mixtures_are_the_solvers():
    for actions in (3, 4, 8, 16):
        games = random_games(3, actions)
        solved = solve_original(games).policy
        for game, policy in zip(games, solved, strict=True):
            assert nash_mixture(game) == pytest.approx(policy, abs=1e-8)
        assert np.abs(nash_mixtures(games) - solved).max() < 0.02
        assert exploitability(games, nash_mixtures(games)).max() < nash_averaging.PRECISION


def test_of_several_nash_mixtures_it_is_the_one_of_largest_entropy():
    assert nash_mixture(np.full((4, 4), 0.5)) == pytest.approx([0.25] * 4, abs=1e-9)
    # two that tie and beat the third
    tied = np.array([[0.5, 0.5, 0.9], [0.5, 0.5, 0.6], [0.1, 0.4, 0.5]])
    assert nash_mixture(tied) == pytest.approx([0.5, 0.5, 0], abs=1e-9)
    # a copy shares its original's weight: (4, 3, 4) / 11 becomes (2, 2, 3, 4) / 11
    index = [0, 0, 1, 2]
    copied = nash_mixture(ROCK_PAPER_SCISSORS[np.ix_(index, index)])
    assert copied == pytest.approx(np.array([2, 2, 3, 4]) / 11, abs=1e-9)


def test_exploitability_over_the_pool_by_hand():
    assert pool_exploitability(ROCK_PAPER_SCISSORS) == pytest.approx([0.4, 0.4, 0.3])
    assert pool_exploitability(truth("transitive", 3))[2] == 0  # nobody beats the best


def test_the_figures_of_an_arena_that_is_known():
    sample = draw(ROCK_PAPER_SCISSORS, 4000, np.random.default_rng(0))
    result = arena.analyse(sample, rounds=200)
    assert [e.value for e in result.nash.mixture] == pytest.approx(
        [4 / 11, 3 / 11, 4 / 11], abs=0.02
    )
    assert [e.value for e in result.nash.value] == pytest.approx([0.5] * 3, abs=1e-9)
    assert covered(result.nash.exploitability, np.array([0.4, 0.4, 0.3])).all()
    assert result.nash.best_response == ("1", "2", "0")
    assert result.cycles.p < 0.01
    assert result.cycles.share > 0.9
    assert result.cycles.strongest == ("0", "2", "1")
    assert result.cycles.weakest_win.value == pytest.approx(0.8, abs=0.02)
    assert result.ratings.davidson is not None


def test_the_best_of_a_ladder_is_the_whole_mixture_and_nobody_exploits_it():
    sample = draw(truth("transitive", 5), 2000, np.random.default_rng(0))
    result = arena.analyse(sample, rounds=100)
    assert [round(e.value, 6) for e in result.nash.mixture] == [0, 0, 0, 0, 1]
    assert result.nash.exploitability[4].value == 0
    assert result.nash.exploitability[4].low == 0
    assert result.nash.best_response[4] == "4"
    assert result.nash.value[0].value == result.win_rates.value[0, 4]


def test_the_same_seed_gives_the_same_figures():
    sample = draw(truth("mixed", 4), 60, np.random.default_rng(0))
    assert repr(arena.analyse(sample, seed=1, rounds=40)) == repr(
        arena.analyse(sample, seed=1, rounds=40)
    )
