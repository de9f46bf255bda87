"""Claims 4 and 5: cycles, biases and exploitability, with the trainer's own objectives."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.config import build, load
from harness.core.iterations import PeriodicReference
from harness.statistics.zero_sum import exploitability
from harness.theory.convergence import Convergence
from harness.theory.dynamics import Method, play
from harness.theory.games import BradleyTerry, Cyclic, Random
from harness.theory.mirror import Trajectory, constant_eta, mirror_descent
from harness.theory.nash import duality_gap, kl, solve_nash
from harness.theory.population import GradientDescent
from harness.theory.results import mean_over_games


def method(name: str, *overrides: str) -> Method:
    built = build(load("dynamics", name, overrides))
    assert isinstance(built, Method)
    return built


@pytest.fixture(scope="module")
def comal() -> tuple[np.ndarray, np.ndarray]:
    return build(load("game", "comal")).draw(0).rows()


def gaps(policies: np.ndarray, game: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return duality_gap(game[0], policies, game[1], 0.0)[..., 0]


def test_a_method_of_the_trainers_objective_is_equation_5(comal):
    preference, reference = Random(name="r", games=20).draw(0).rows()
    trained = play(method("inpo"), preference, reference, record=[1, 5, 20])
    exact = mirror_descent(preference, reference, eta=constant_eta(0.5), tau=0.1, record=[1, 5, 20])
    np.testing.assert_allclose(trained.last, exact.last, atol=1e-10)
    np.testing.assert_allclose(trained.mixture, exact.mixture, atol=1e-10)
    np.testing.assert_allclose(trained.pull, exact.pull, atol=1e-10)


def test_multiplicative_weights_cycles_while_its_mixture_converges(comal):
    # the last iterate runs into the corners: gap .31 at T = 100, .80 at 1,000 and 10,000;
    # the mixture's is .040, .0134, .0042: a tenth in two decades, as 1/√T
    run = mirror_descent(*comal, eta=constant_eta(0.5), tau=0.0, record=[100, 1000, 10_000])
    assert gaps(run.last, comal) == pytest.approx([0.309, 0.799, 0.8], abs=1e-3)
    assert gaps(run.mixture, comal) == pytest.approx([0.0404, 0.0134, 0.0042], abs=1e-4)


def test_inpo_stops_at_the_regularised_nash_with_the_bias_that_tau_sets(comal):
    # gaps of the regularised Nash policies: .0961 at τ = .1, .0105 at τ = .01; INPO's are theirs
    inpo_gaps = []
    for tau, eta in ((0.1, 0.5), (0.01, 3.0)):
        run = mirror_descent(*comal, eta=constant_eta(eta), tau=tau, record=[20_000])
        solved = solve_nash(*comal, tau).policy
        assert kl(solved, run.last[0])[0] < 1e-12
        inpo_gaps.append(gaps(run.last[0], comal).item())
    assert inpo_gaps == pytest.approx([0.0961, 0.0105], abs=1e-4)


def test_advancing_the_reference_removes_the_bias(comal):
    # reference moved every 10 iterations: gap 3e-16 after 200 where INPO keeps .096
    run = play(method("comal"), *comal, record=[20, 50, 100])
    assert (np.diff(gaps(run.last, comal)) < 0).all()
    assert gaps(run.last, comal)[-1] < 1e-4
    assert kl(solve_nash(*comal, 0.0).policy, run.last[-1])[0] < 1e-4


def test_optimism_removes_the_bias_without_a_reference(comal):
    # step size 2: gap 3e-12 after 200 iterations; without optimism it grows
    run = play(method("onpo", "objective.eta=2.0"), *comal, record=[20, 80])
    assert gaps(run.last, comal)[1] < 1e-2 * gaps(run.last, comal)[0]
    assert gaps(run.last, comal)[1] < 1e-3


def test_on_bradley_terry_preferences_dpo_and_inpo_agree():
    # 60 games: the same most likely action in all of them; gap .110 of INPO, .086 of DPO
    game = BradleyTerry(name="b", games=60).draw(0).rows()
    ours = play(method("inpo"), *game, record=[61]).last[0]
    dpo = play(method("iterative-dpo"), *game, record=[60, 61]).last
    assert (ours.argmax(-1) == dpo[-1].argmax(-1)).mean() >= 0.99
    np.testing.assert_allclose(dpo[0], dpo[1], atol=1e-9)  # it has converged
    both = [
        mean_over_games(2 * exploitability(game[0], policy)).value for policy in (ours, dpo[-1])
    ]
    assert both == pytest.approx([0.110, 0.086], abs=0.002)


def test_on_cyclic_preferences_dpo_is_exploitable_and_inpo_is_not():
    # 60 games, gap of the last iterate with 95 % over games: INPO .073 [.064, .083], DPO .329
    # [.259, .398], difference .256 [.187, .327] (300 games: .068, .308, .239 [.214, .267]); INPO's
    # is all bias of τ, DPO still moves
    game = Cyclic(name="c", games=60).draw(0).rows()
    ours = play(method("inpo"), *game, record=[61]).last[0]
    dpo = play(method("iterative-dpo"), *game, record=[60, 61]).last
    inpo_gap, dpo_gap = (2 * exploitability(game[0], policy) for policy in (ours, dpo[-1]))
    apart = mean_over_games(dpo_gap - inpo_gap)
    assert apart.low > 0.15
    assert mean_over_games(inpo_gap).value == pytest.approx(0.073, abs=0.002)
    assert mean_over_games(dpo_gap).value == pytest.approx(0.329, abs=0.01)
    biased = duality_gap(game[0], solve_nash(*game, 0.1).policy, game[1], 0.0)
    assert np.abs(inpo_gap - biased).max() < 0.02
    assert np.abs(dpo[1] - dpo[0]).sum(-1).mean() > 0.5


def test_iterated_ipo_keeps_moving_where_inpo_converges(comal):
    # IPO on new pairs is η = τ, below COMAL's game's threshold of .246
    # INPO contracts by √((1 − τ/η)² + ρ²/η²) = .89 an iteration, with ρ = .2
    last = play(method("ipo"), *comal, record=[79, 80]).last
    assert np.abs(last[1] - last[0]).sum() > 0.1
    converged = play(method("inpo"), *comal, record=[79, 80]).last
    assert np.abs(converged[1] - converged[0]).sum() < 1e-3


@pytest.mark.parametrize("name", ["sppo", "dno", "onpo", "mnpo", "inpo-without-kl"])
def test_mixtures_of_the_other_methods_beat_the_reference(name):
    # of 20 games the mixtures' gaps after 100 iterations are .01 to .14; the references' is .32
    game = Random(name="r", games=5).draw(0).rows()
    run = play(method(name), *game, record=[1, 50])
    mixed = duality_gap(game[0], run.mixture, game[1], 0.0).mean(-1)
    assert mixed[1] < 0.5 * mixed[0]


@pytest.mark.parametrize("name", ["inpo-sampled", "inpo-gradient"])
def test_sampled_pairs_and_gradient_steps_come_near_the_exact_policy(comal, name):
    # 15 iterations; 1,000 pairs leave the policy .014 from the exact one, 100 steps 1e-13
    exact = play(method("inpo"), *comal, record=[15]).last[0]
    approximate = play(method(name), *comal, record=[15]).last[0]
    assert np.abs(approximate - exact).max() < (0.08 if name == "inpo-sampled" else 1e-9)


def test_best_of_8_and_argmax_labels_leave_the_regularised_nash(comal):
    # gap of the regularised game after 20 iterations: .063 and .199; with drawn labels it goes to 0
    for name in ("inpo-argmax", "inpo-best-of-8"):
        last = play(method(name), *comal, record=[20]).last[0]
        assert duality_gap(comal[0], last, comal[1], 0.1)[0] > 0.05


def test_gradient_descent_plays_the_same_game_as_the_minimiser(comal):
    # 400 steps an iteration come within 1e-3 of the exact path
    slow = method("inpo").model_copy(update={"solver": GradientDescent(steps=400, rate=0.3)})
    approximate, exact = (play(m, *comal, record=[1, 5]).last[-1] for m in (slow, method("inpo")))
    np.testing.assert_allclose(approximate, exact, atol=1e-3)


def test_a_reference_moved_every_iteration_is_the_previous_policy(comal):
    every = method("inpo").model_copy(update={"reference": PeriodicReference(every=1)})
    previous = method("inpo").model_copy(update={"reference": "previous"})
    runs: list[Trajectory] = [play(m, *comal, record=[10]) for m in (every, previous)]
    np.testing.assert_allclose(runs[0].last, runs[1].last)


def test_the_experiment_shows_gaps_and_draws_paths(comal):
    from harness.cli.display import track

    experiment = Convergence(
        game=build(load("game", "comal")),
        methods=[method("inpo"), method("iterative-dpo")],
        iterations=30,
    )
    result = experiment.run(track)
    names = [row[0] for row in result.tables[0].rows]
    assert names == ["INPO", "iterative DPO"]
    assert set(result.figures) == {"convergence", "simplex"}
    assert result.figures["simplex"][0].curves[0].x[0] == pytest.approx(0.3 + 0.5 / 2)
