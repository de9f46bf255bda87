"""Claim 1: the trained loss is the population loss; it is least at the mirror descent step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.dpo import DPO
from baselines.ipo import IPO
from baselines.onpo import ONPO
from harness.errors import CheckError
from harness.objectives.inpo import INPO
from harness.statistics.zero_sum import softmax, win_rates
from harness.theory.games import BradleyTerry, Random, single_game
from harness.theory.mirror import omd_step
from harness.theory.pairs import IndependentPairs, sample_pairs
from harness.theory.population import GradientDescent, Newton, Population

ETA, TAU = 0.3, 0.1


def drawn(games: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    preference, reference = Random(name="r", games=games).draw(0).rows()
    return preference, reference, np.random.default_rng(1).dirichlet(np.ones(6), games)


def population(objective, preference, reference, policy, source=None) -> Population:
    weights = (source or IndependentPairs()).weights(preference, policy, np.random.default_rng(0))
    anchors = {"reference": reference, "previous": policy}
    return Population(objective, preference, weights, win_rates(preference, policy), anchors)


def equation_7(policy, preference, reference, previous) -> np.ndarray:
    """E over y, y' ~ π_t of (h_t(π, y, y') − (P(y ≻ π_t) − P(y' ≻ π_t))/η)², written out."""
    rates = win_rates(preference, previous)
    g = np.log(policy) - TAU / ETA * np.log(reference) - (1 - TAU / ETA) * np.log(previous)
    apart = (g - rates / ETA)[:, :, None] - (g - rates / ETA)[:, None, :]
    return (previous[:, :, None] * previous[:, None, :] * apart**2).sum((1, 2))


def test_proposition_6_the_losses_differ_by_a_constant():
    # over 20 policies in each of 200 games the difference varies by at most 1e-13 of the loss
    preference, reference, previous = drawn(200)
    trained = population(INPO(eta=ETA, tau=TAU), preference, reference, previous)
    rng, apart = np.random.default_rng(2), []
    for _ in range(20):
        logits = rng.standard_normal(reference.shape)
        ours = trained.loss(torch.from_numpy(logits)).numpy()
        apart.append(ours - equation_7(softmax(logits), preference, reference, previous))
    assert np.ptp(np.array(apart), axis=0).max() <= 1e-12 * np.array(apart).max()


def test_lemma_5_the_minimiser_is_the_mirror_descent_step():
    # worst of 1,000 games: 2e-15 in log π
    preference, reference, previous = drawn()
    trained = population(INPO(eta=ETA, tau=TAU), preference, reference, previous)
    minimizer = softmax(Newton().solve(trained, np.log(previous)))
    exact = omd_step(preference, previous, reference, eta=ETA, tau=TAU)
    np.testing.assert_allclose(np.log(minimizer), np.log(exact), rtol=0, atol=1e-8)


def test_gradient_descent_on_the_same_loss_comes_to_the_same_policy():
    preference, reference, previous = drawn(20)
    previous = (previous + 0.1) / 1.6  # no action is so rare that plain gradients never reach it
    trained = population(INPO(eta=ETA, tau=TAU), preference, reference, previous)
    minimizer = softmax(GradientDescent(steps=3000, rate=0.3).solve(trained, np.log(previous)))
    exact = omd_step(preference, previous, reference, eta=ETA, tau=TAU)
    np.testing.assert_allclose(minimizer, exact, rtol=0, atol=1e-8)


def test_without_kl_the_step_is_onpos_with_the_inverse_step_size():
    preference, reference, previous = drawn(50)
    start = np.log(previous)
    ours = population(INPO(eta=0.5, tau=0.0), preference, reference, previous)
    theirs = population(ONPO(eta=2.0), preference, reference, previous)
    np.testing.assert_allclose(
        softmax(Newton().solve(ours, start)), softmax(Newton().solve(theirs, start)), atol=1e-12
    )


def test_ipo_on_new_pairs_is_inpo_with_eta_equal_to_tau():
    preference, reference, previous = drawn(50)
    trained = population(IPO(tau=TAU), preference, reference, previous)
    minimizer = softmax(Newton().solve(trained, np.log(previous)))
    exact = omd_step(preference, previous, reference, eta=TAU, tau=TAU)
    np.testing.assert_allclose(minimizer, exact, atol=1e-12)


def test_argmax_labels_make_the_step_of_the_rounded_game():
    # the loss sees only which one is preferred, so it learns the game with P rounded to 0 or 1
    preference, reference, previous = drawn(50)
    objective, source = INPO(eta=ETA, tau=TAU), IndependentPairs(labels="argmax")
    trained = population(objective, preference, reference, previous, source)
    minimizer = softmax(Newton().solve(trained, np.log(previous)))
    rounded = (np.sign(preference - 0.5) + 1) / 2
    exact = omd_step(rounded, previous, reference, eta=ETA, tau=TAU)
    np.testing.assert_allclose(np.log(minimizer), np.log(exact), rtol=0, atol=1e-10)


def test_dpo_fits_bradley_terry_rewards_whatever_pairs_it_sees():
    # log π/π_ref = r/β + const: contrasts times β are the rewards' log-odds
    preference, reference = BradleyTerry(name="b", games=20).draw(0).rows()
    previous = np.random.default_rng(1).dirichlet(np.ones(6), 20)
    trained = population(DPO(beta=0.4), preference, reference, previous)
    g = np.log(softmax(Newton().solve(trained, np.log(previous)))) - np.log(reference)
    odds = np.log(preference) - np.log1p(-preference)
    np.testing.assert_allclose(0.4 * (g[:, :, None] - g[:, None, :]), odds, atol=1e-6)


def test_sampled_pairs_approach_the_exact_step_as_one_over_root_n():
    # standard error of the update ~ 1/√n: a hundred times the pairs, a tenth of the distance
    preference, reference, _ = drawn(50)
    rng = np.random.default_rng(0)
    law = IndependentPairs().weights(preference, reference, rng)
    exact = omd_step(preference, reference, reference, eta=ETA, tau=TAU)
    rates, anchors = win_rates(preference, reference), {"previous": reference}

    def distance(count: int) -> float:
        pairs = sample_pairs(law, count, rng)
        anchors["reference"] = reference
        trained = Population(INPO(eta=ETA, tau=TAU), preference, pairs, rates, anchors)
        return np.abs(softmax(Newton().solve(trained, np.log(reference))) - exact).mean()

    assert distance(1_000) / distance(100_000) == pytest.approx(10, rel=0.25)


def test_dpo_has_no_minimiser_where_one_action_always_wins():
    preference, reference = single_game([[0.5, 1.0], [0.0, 0.5]], None).rows()
    trained = population(DPO(beta=1.0), preference, reference, reference)
    with pytest.raises(CheckError, match="no minimiser"):
        Newton(tolerance=1e-30, steps=20).solve(trained, np.log(reference))
