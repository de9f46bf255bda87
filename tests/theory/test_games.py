"""Games, their Nash policies, and the errors for matrices and policies that are invalid."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.config import build, load, names
from harness.errors import CheckError, ConfigError, InputError
from harness.statistics.zero_sum import exploitability, softmax, win_rates
from harness.theory.games import BradleyTerry, Cyclic, Games, MatrixFile, Random, single_game
from harness.theory.mirror import constant_eta, mirror_descent, omd_step
from harness.theory.nash import duality_gap, kl, solve_nash

COMAL = [[0.5, 0.1, 0.8], [0.9, 0.5, 0.1], [0.2, 0.9, 0.5]]


def test_comals_game_has_the_nash_policy_of_its_paper():
    # b beats a by .4 more than even, c beats b by .4, a beats c by .3;
    # weights are those of the opposite edges: (.4, .3, .4) / 1.1
    preference, reference = single_game(COMAL, None).rows()
    solution = solve_nash(preference, reference, 0.0)
    assert solution.policy[0] == pytest.approx([4 / 11, 3 / 11, 4 / 11], abs=1e-10)
    assert solution.residual.max() <= 1e-10


def test_the_regularised_nash_policy_solves_its_equation_and_has_no_gap():
    # the worst of 1,000 games: 3e-15 nats at tau = 0.1, 8e-14 at tau = 0.001
    preference, reference = Random(name="r", games=1000).draw(0).rows()
    for tau in (1.0, 0.1, 0.01, 0.001):
        solution = solve_nash(preference, reference, tau)
        response = softmax(np.log(reference) + win_rates(preference, solution.policy) / tau)
        np.testing.assert_allclose(response, solution.policy, rtol=0, atol=1e-10)
        assert solution.residual.max() <= 1e-10
        assert np.abs(duality_gap(preference, solution.policy, reference, tau)).max() <= 1e-10


def test_the_original_nash_policy_cannot_be_exploited():
    # 1,000 games of 6 actions: at most 1.2e-16
    preference, reference = Random(name="r", games=300).draw(1).rows()
    solution = solve_nash(preference, reference, 0.0)
    assert exploitability(preference, solution.policy).max() <= 1e-10
    assert (solution.policy >= 0).all()


def test_degenerate_games_have_a_certified_nash_policy_too():
    even = single_game([[0.5, 0.5], [0.5, 0.5]], None).rows()
    assert solve_nash(*even, 0.0).residual.max() <= 1e-10
    dominated = single_game([[0.5, 1.0, 0.5], [0.0, 0.5, 0.5], [0.5, 0.5, 0.5]], None).rows()
    assert solve_nash(*dominated, 0.0).residual.max() <= 1e-10


def test_the_gap_is_what_a_grid_of_responses_finds():
    # J(p, q) = P(p ≻ q) − τ KL(p ‖ ref) + τ KL(q ‖ ref), maximised and minimised over 20,000 points
    preference, reference = single_game(COMAL, [0.2, 0.3, 0.5]).rows()
    policy, tau = np.array([[0.6, 0.3, 0.1]]), 0.1
    grid = np.random.default_rng(0).dirichlet(np.ones(3), 20_000)
    won = grid @ preference[0] @ policy[0]
    pulls = tau * kl(grid, reference[0])
    first = won - pulls + tau * kl(policy, reference)
    second = (1 - won) - tau * kl(policy, reference) + pulls
    gap = duality_gap(preference, policy, reference, tau)[0]
    assert first.max() - second.min() == pytest.approx(gap, abs=1e-3)
    assert first.max() - second.min() <= gap


def test_a_contextual_game_is_the_mean_over_its_prompts():
    games = Random(name="c", games=2, prompts=3, actions=4).draw(0)
    preference, reference = games.rows()
    assert preference.shape == (6, 4, 4)
    figures = exploitability(preference, reference)
    assert games.mean(figures) == pytest.approx([figures[:3].mean(), figures[3:].mean()])


def test_games_are_the_same_for_the_same_seed_and_others_for_another():
    game = BradleyTerry(name="b", games=2)
    np.testing.assert_array_equal(game.draw(3).preference, game.draw(3).preference)
    assert (game.draw(3).preference != game.draw(4).preference).any()


@pytest.mark.parametrize("actions", [3, 4, 5])
def test_in_a_cyclic_game_every_action_beats_those_that_follow(actions):
    preference = Cyclic(name="c", games=5, actions=actions).draw(0).preference[:, 0]
    for i in range(actions):
        assert (preference[:, i, (i + 1) % actions] >= 0.55).all()


def test_every_shipped_game_and_method_builds():
    assert {"random", "comal", "rock-paper-scissors"} <= set(names("game"))
    for name in names("game"):
        assert isinstance(build(load("game", name)).draw(0), Games)
    for name in names("dynamics"):
        assert build(load("dynamics", name)).method


@pytest.mark.parametrize(
    ("preference", "message"),
    [
        ([[0.5, 0.7], [0.4, 0.5]], r"P\(0, 1\) = 0.7 and P\(1, 0\) = 0.4: .* they sum to 1"),
        ([[0.5, 1.2], [-0.2, 0.5]], r"P\(0, 1\) is 1.2: a preference lies in \[0, 1\]"),
        ([[0.6, 0.5], [0.5, 0.5]], "the diagonal is 0.5"),
        ([[0.5, float("nan")], [0.5, 0.5]], r"P\(0, 1\) is nan"),
        ([[0.5, 0.5]], "square: 1 rows of"),
    ],
)
def test_a_matrix_that_holds_no_preferences_is_an_error(preference, message):
    with pytest.raises(InputError, match=message):
        single_game(preference, None)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ([1.0, 0.0, 0.0], "gives action 1 the probability 0: KL needs .* positive, e.g. 1e-9"),
        ([0.5, 0.3, 0.3], "sums to 1.1: probabilities sum to 1"),
        ([0.5, 0.5], "has 2 actions, the matrix 3"),
    ],
)
def test_a_reference_that_is_not_a_policy_is_an_error(reference, message):
    with pytest.raises(InputError, match=message):
        single_game(COMAL, reference)


def test_constants_that_give_no_mixture_are_an_error():
    preference, reference = single_game(COMAL, None).rows()
    with pytest.raises(ConfigError, match="tau is -0.1: it must be 0"):
        solve_nash(preference, reference, -0.1)
    with pytest.raises(ConfigError, match=r"eta is 0.05: .* at least tau \(0.1\)"):
        mirror_descent(preference, reference, eta=constant_eta(0.05), tau=0.1, record=[5])
    with pytest.raises(ConfigError, match="tau is -1"):
        omd_step(preference, reference, reference, eta=0.3, tau=-1.0)


def test_a_tau_too_small_to_certify_is_an_error():
    preference, reference = Random(name="r", games=5).draw(0).rows()
    with pytest.raises(CheckError, match="choose a larger tau"):
        solve_nash(preference, reference, 1e-9)


def test_a_game_is_read_from_a_csv_file(tmp_path):
    path = tmp_path / "game.csv"
    path.write_text("0.5,0.1,0.8\n0.9,0.5,0.1\n0.2,0.9,0.5\n")
    game = MatrixFile(name="mine", path=path)
    np.testing.assert_array_equal(game.draw(0).preference[0, 0], COMAL)
    path.write_text("0.5,much\n")
    with pytest.raises(InputError, match="expected a square of numbers"):
        game.draw(0)
