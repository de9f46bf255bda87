"""AlpacaEval's length control in worlds that are known; the published ones are in fidelity."""

import numpy as np
import pytest
from scipy.special import expit

from harness.errors import CheckError
from harness.statistics import length_control_glm
from harness.statistics.length_control_glm import (
    STRENGTHS,
    GamedRows,
    ModelRows,
    assign_folds,
    length_controlled_win_rate,
)


def gamed(m=400, seed=9):
    rng = np.random.default_rng(seed)
    difference, difficulty = rng.normal(size=m), rng.normal(size=m)
    return GamedRows(expit(-0.9 * np.tanh(difference) + rng.normal(size=m)), difference, difficulty)


def judged(n=400, b=-0.5, seed=0):
    rng = np.random.default_rng(seed)
    length, baseline = rng.integers(50, 900, n) + 0.0, rng.integers(50, 900, n) + 0.0
    difficulty = rng.normal(size=n)
    difference = baseline - length
    logits = b - 0.9 * np.tanh(difference / difference.std(ddof=1)) + 0.5 * difficulty
    won = (rng.random(n) < expit(logits)).astype(float)
    return ModelRows(won, length, baseline, difficulty)


def changed(rows, **fields):
    parts = ("preference", "length", "baseline_length", "difficulty")
    return ModelRows(**{name: getattr(rows, name) for name in parts} | fields)


def test_the_rate_at_equal_length_comes_out():
    rows = judged(20_000)
    result = length_controlled_win_rate(rows, gamed(), seed=0, rounds=20)
    truth = 100 * expit(-0.5 + 0.5 * rows.difficulty).mean()
    assert result.estimate.value == pytest.approx(truth, abs=1.5)
    assert result.estimate.low < result.estimate.value < result.estimate.high
    assert result.strength in STRENGTHS


def test_neighbours_are_the_figures_at_the_next_values():
    rows = judged()
    result = length_controlled_win_rate(rows, gamed(), seed=0, rounds=0)
    index = STRENGTHS.index(result.strength)
    assert set(result.neighbors) == set(STRENGTHS[max(index - 1, 0) : index + 2]) - {
        result.strength
    }
    for strength, value in result.neighbors.items():
        refitted = length_controlled_win_rate(rows, gamed(), seed=0, rounds=0, strength=strength)
        assert refitted.estimate.value == value
        assert refitted.estimate.low is None


def test_a_thousand_refits_are_seeded():
    rows, gamed_rows = judged(805), gamed(1610)
    result = length_controlled_win_rate(rows, gamed_rows, seed=3)
    again = length_controlled_win_rate(rows, gamed_rows, seed=3, strength=result.strength)
    assert again.estimate == result.estimate
    other = length_controlled_win_rate(rows, gamed_rows, seed=4, strength=result.strength)
    assert other.estimate.low != result.estimate.low


def test_the_interval_covers_as_often_as_it_says():
    hits, gamed_rows = 0, gamed()
    truth = 100 * expit(-0.5 + 0.5 * np.random.default_rng(1).normal(size=100_000)).mean()
    for seed in range(60):
        rows = judged(300, seed=seed)
        result = length_controlled_win_rate(rows, gamed_rows, seed=seed, rounds=200, strength=21.5)
        hits += result.estimate.low <= truth <= result.estimate.high
    # 0.95 within three standard errors of a share of 60: 0.084
    assert hits / 60 >= 0.866


def test_unparsed_rows_are_not_fitted_but_predicted_for():
    rows = judged()
    unparsed = rows.preference.copy()
    unparsed[:50] = np.nan
    result = length_controlled_win_rate(
        changed(rows, preference=unparsed), gamed(), seed=0, rounds=50, strength=2.8
    )
    harder = rows.difficulty.copy()
    harder[:50] -= 4
    moved = length_controlled_win_rate(
        changed(rows, preference=unparsed, difficulty=harder),
        gamed(),
        seed=0,
        rounds=0,
        strength=2.8,
    )
    assert np.isfinite([result.estimate.low, result.estimate.high]).all()
    assert moved.estimate.value < result.estimate.value - 1


def test_without_difficulty_every_instruction_is_alike():
    rows = changed(judged(), difficulty=None)
    result = length_controlled_win_rate(rows, gamed(), seed=0, rounds=50)
    assert result.published_error == pytest.approx(0, abs=1e-12)
    assert result.estimate.standard_error > 0.5


def test_the_baseline_against_itself_is_half_without_a_fit():
    rows = judged(20)
    same = changed(rows, preference=np.full(20, 0.5), length=rows.baseline_length)
    result = length_controlled_win_rate(same, gamed(), seed=0)
    assert (result.estimate.value, result.estimate.standard_error) == (50, 0)
    assert (result.published_error, result.strength) == (0, None)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_preferences_are_fitted(value):
    rows = changed(judged(100), preference=np.full(100, value))
    result = length_controlled_win_rate(rows, gamed(), seed=0, rounds=50)
    assert result.estimate.value == pytest.approx(100 * value, abs=8)
    assert result.estimate.low <= result.estimate.high


def test_equal_lengths_leave_the_length_term_to_the_gamed_rows():
    rows = judged()
    same = changed(rows, length=rows.baseline_length)
    result = length_controlled_win_rate(same, gamed(), seed=0, rounds=50)
    assert result.estimate.value == pytest.approx(100 * rows.preference.mean(), abs=2)


def test_the_same_difference_in_length_throughout_cannot_be_controlled_for():
    rows = judged()
    longer = changed(rows, length=rows.baseline_length + 7)
    with pytest.raises(CheckError, match="by the same length"):
        length_controlled_win_rate(longer, gamed(), seed=0)


@pytest.mark.parametrize("n", [2, 3, 5, 49])
def test_few_rows_have_a_figure(n):
    rows = judged(n, seed=2)
    result = length_controlled_win_rate(rows, gamed(), seed=0, rounds=50)
    assert 0 <= result.estimate.low <= result.estimate.high <= 100


@pytest.mark.parametrize("read", [0, 1])
def test_fewer_than_two_verdicts_are_an_error(read):
    rows = judged(10)
    unparsed = np.where(np.arange(10) < read, rows.preference, np.nan)
    with pytest.raises(CheckError, match="at least two verdicts that were parsed, not [01]$"):
        length_controlled_win_rate(changed(rows, preference=unparsed), gamed(), seed=0)


def test_differences_in_length_are_in_standard_deviations():
    rows = judged(20)
    difference = rows.baseline_length - rows.length
    scaled = length_control_glm._standard_difference(rows)
    assert scaled == pytest.approx(difference / difference.std(ddof=1))
    zero = changed(rows, length=rows.baseline_length)
    assert length_control_glm._standard_difference(zero).tolist() == [0.0] * 20


def test_gamed_rows_weigh_a_tenth_and_come_first():
    rows, gamed_rows = judged(5), gamed(3)
    design = length_control_glm._design(rows, gamed_rows, ~np.isnan(rows.preference))
    assert design.weights.tolist() == [0.1] * 3 + [1.0] * 5
    assert design.features[:, -1].tolist() == [0.0] * 3 + [1.0] * 5
    assert design.features[:3, 0] == pytest.approx(np.tanh(gamed_rows.standard_difference))


def test_the_range_over_orders_of_the_folds_holds_the_figure(
    monkeypatch,
):
    rng = np.random.default_rng(0)
    rows = ModelRows(
        rng.random(60), rng.integers(1, 99, 60) * 1.0, np.full(60, 40.0), rng.normal(size=60)
    )
    gamed = GamedRows(rng.random(20), rng.normal(size=20), rng.normal(size=20))
    result = length_controlled_win_rate(rows, gamed, seed=0, rounds=20)
    assert result.order_range[0] <= result.estimate.value <= result.order_range[1]
    weak = length_controlled_win_rate(rows, gamed, seed=0, rounds=0, strength=0.0464)
    monkeypatch.setattr(
        length_control_glm,
        "_strengths_of_orders",
        lambda design, seed: {STRENGTHS[3], STRENGTHS[9]},
    )
    wide = length_controlled_win_rate(rows, gamed, seed=0, rounds=20)
    assert wide.order_range[1] - wide.order_range[0] >= 0.01
    assert wide.order_range[0] - 0.1 <= weak.estimate.value <= wide.order_range[1] + 0.1


def test_losses_of_refits_choose_the_strength_that_liblinear_does():
    rng = np.random.default_rng(1)
    rows = ModelRows(
        rng.random(200), rng.integers(1, 99, 200) * 1.0, np.full(200, 40.0), rng.normal(size=200)
    )
    gamed = GamedRows(rng.random(50), rng.normal(size=50), rng.normal(size=50))
    design = length_control_glm._design(rows, gamed, np.ones(200, dtype=bool))
    folds = assign_folds(250, 5)
    held_out = np.array([folds == fold for fold in range(5)])
    for strength in STRENGTHS[4:8]:
        exact = [length_control_glm._held_out_loss(design, part, strength) for part in held_out]
        refitted = length_control_glm._losses(design, held_out, strength)
        assert refitted == pytest.approx(exact, abs=1e-5)
