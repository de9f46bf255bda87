"""Claim 6: the effect of best-and-worst-of-K and of rounded labels on the update."""

from __future__ import annotations

import numpy as np
import pytest

from harness.cli.display import track
from harness.core.config import build, load
from harness.objectives.inpo import INPO, SoftINPO
from harness.theory.dynamics import Method, play
from harness.theory.games import BradleyTerry, Random, single_game
from harness.theory.nash import kl, solve_nash
from harness.theory.pairs import BestAndWorst, IndependentPairs, SampledPairing, label_probability
from harness.theory.population import Newton
from harness.theory.selection import log_update, regression
from harness.training.pairing import AllPairs, Tournament

OBJECTIVE = INPO(eta=0.5, tau=0.1)


@pytest.fixture(scope="module")
def general() -> tuple[np.ndarray, np.ndarray]:
    return Random(name="r", games=1000).draw(0).rows()


@pytest.fixture(scope="module")
def transitive() -> tuple[np.ndarray, np.ndarray]:
    return BradleyTerry(name="b", games=1000).draw(0).rows()


def measured(game, source) -> tuple[float, float]:
    """Return the mean slope and correlation over games."""
    exact, observed = (log_update(OBJECTIVE, *game, s) for s in (IndependentPairs(), source))
    slope, correlation = regression(exact, observed, game[1])
    return float(slope.mean()), float(correlation.mean())


@pytest.mark.parametrize("k", [2, 4, 8])
def test_the_exact_law_is_that_of_the_trainers_own_tournament(k):
    # 10,000 prompts: standard error of a share at most .005, so 4 of them are .02
    preference, policy = Random(name="r", games=2, actions=4).draw(3).rows()
    rng = np.random.default_rng(0)
    exact = BestAndWorst(samples=k).weights(preference, policy, rng)
    source = SampledPairing(pairing=Tournament(), samples=k, prompts=10_000)
    np.testing.assert_allclose(source.weights(preference, policy, rng), exact, atol=0.02)


def test_of_two_the_tournament_is_independent_pairs_with_argmax_labels(general):
    rng = np.random.default_rng(0)
    best = BestAndWorst(samples=2).weights(*general, rng)
    other = 1 - np.eye(6)
    iid = IndependentPairs(labels="argmax").weights(*general, rng) * other
    np.testing.assert_allclose(best, iid / iid.sum((1, 2), keepdims=True), atol=1e-12)


def test_all_pairs_of_k_follow_the_law_of_independent_pairs():
    # with soft labels they miss only pairs of equal actions, which carry no information
    preference, policy = Random(name="r", games=1, actions=4).draw(3).rows()
    rng = np.random.default_rng(0)
    source = SampledPairing(pairing=AllPairs(), samples=8, prompts=5_000, labels="bernoulli")
    sampled = source.weights(preference, policy, rng)
    exact = IndependentPairs().weights(preference, policy, rng) * (1 - np.eye(4))
    np.testing.assert_allclose(sampled, exact / exact.sum(), atol=0.01)


def test_best_and_worst_of_8_distort_the_update_on_general_preferences(general):
    # 1,000 games of 6 actions: slope 1.70, correlation .81 (K = 2: 1.53, .84; K = 32: 1.43, .68)
    slope, correlation = measured(general, BestAndWorst(samples=8))
    assert slope == pytest.approx(1.70, abs=0.1)
    assert correlation == pytest.approx(0.81, abs=0.03)
    wide = measured(general, BestAndWorst(samples=32))
    assert wide[1] < correlation - 0.05


def test_on_bradley_terry_games_soft_labels_nearly_undo_it(transitive):
    # argmax: slope 1.32, correlation .87; soft, on the very same pairs: .93 and .99
    argmax = measured(transitive, BestAndWorst(samples=8))
    soft = measured(transitive, BestAndWorst(samples=8, labels="bernoulli"))
    assert argmax == pytest.approx((1.32, 0.87), abs=0.06)
    assert soft == pytest.approx((0.93, 0.987), abs=0.02)


def test_on_general_preferences_soft_labels_are_not_enough(general):
    # soft labels bring the slope to 1.11, but the correlation only to .86: selection distorts too
    slope, correlation = measured(general, BestAndWorst(samples=8, labels="bernoulli"))
    assert slope == pytest.approx(1.11, abs=0.06)
    assert correlation == pytest.approx(0.86, abs=0.03)


def test_independent_pairs_with_soft_labels_are_exact(general):
    # and so is the soft objective, whose target is the labels' mean, on pairs in either order
    slope, correlation = measured(general, BestAndWorst(samples=2, labels="bernoulli"))
    assert (slope, correlation) == pytest.approx((1.0, 1.0), abs=1e-9)
    soft = log_update(SoftINPO(eta=0.5, tau=0.1), *general, IndependentPairs(labels="argmax"))
    exact = log_update(OBJECTIVE, *general, IndependentPairs())
    np.testing.assert_allclose(soft, exact, atol=1e-9)


def test_argmax_labels_lead_to_the_nash_policy_of_the_rounded_game(transitive):
    preference, reference = (part[:20] for part in transitive)
    method = Method(method="m", objective=OBJECTIVE, pairs=IndependentPairs(labels="argmax"))
    run = play(method, preference, reference, record=[300])
    solved = solve_nash(label_probability(preference, "argmax"), reference, 0.1).policy
    assert kl(solved, run.last[0]).max() < 1e-8


def test_the_regression_is_that_of_the_textbook():
    # exact (0, 1, 2), observed twice as far the other way round at the end: y = (0, 2, 2), uniform
    # weights: slope = Σ(x − 1)(y − 4/3)/Σ(x − 1)² = (4/3 + 2/3)/2 = 1; correlation 1·√2/√(8/3)
    slope, correlation = regression(
        np.array([[0.0, 1.0, 2.0]]), np.array([[0.0, 2.0, 2.0]]), np.full((1, 3), 1 / 3)
    )
    assert slope[0] == pytest.approx(1.0)
    assert correlation[0] == pytest.approx(np.sqrt(3) / 2)


def test_ties_count_for_the_first_and_end_without_a_pair():
    # two actions that are even: no prompt is kept, so there is nothing to learn
    preference, reference = single_game([[0.5, 0.5], [0.5, 0.5]], None).rows()
    source = SampledPairing(pairing=Tournament(), samples=4, prompts=100)
    assert source.weights(preference, reference, np.random.default_rng(0)).sum() == 0


def test_the_experiment_follows_every_source_to_its_end():
    spec = load("theory", "selection", ["samples=[2, 8]", "iterations=20"])
    small = {**spec, "games": [{**game, "games": 8} for game in spec["games"]]}
    result = build(small).run(track)
    assert len(result.tables) == 6
    exact = result.tables[3].rows[0]
    assert exact[0] == "independent, soft"
    assert exact[1].value < 1e-3
    assert len(result.figures["selection"]) == 2
    assert Newton().steps == 50
