"""Style control: the maximum of the likelihood, and upstream's optimiser against torch's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from harness.errors import CheckError
from harness.statistics import paired, style_control
from harness.statistics.resampling import bit_generator, resample_weights
from harness.statistics.style_control import (
    StyleGames,
    fit_exact,
    fit_truncated,
    lbfgs,
    style_differences,
)

FIELDS = ("model", "points", "weight", "style_difference", "prompt")


def world(models=3, prompts=200, seed=0, strength=0.3, pull=0.8):
    """Games whose winner depends on the model and on a difference in length."""
    rng = np.random.default_rng(seed)
    model = np.repeat(np.arange(models), 2 * prompts)
    prompt = np.tile(np.repeat(np.arange(prompts), 2), models)
    difference = rng.normal(size=(len(model), 4))
    logits = strength * (model - 1) + pull * difference[:, 0]
    won = (rng.random(len(model)) < expit(logits)).astype(float)
    weight = rng.choice([1.0, 3.0], size=len(model))
    return StyleGames(model, won, weight, difference, prompt, models)


def test_differences_by_hand():
    ours = np.array([[300.0, 2, 0, 0], [0.0, 0, 0, 0]])
    theirs = np.array([[100.0, 0, 0, 0], [0.0, 0, 0, 0]])
    result = style_differences(ours, theirs)
    # length (300 - 100) / 400; headers 2 / 301 against none: d / (d + 1)
    assert result[0].tolist() == pytest.approx([0.5, (2 / 301) / (2 / 301 + 1), 0, 0])
    assert result[1].tolist() == [0, 0, 0, 0]  # two empty answers are alike


def test_the_exact_fit_is_the_maximum_and_finds_the_world():
    rows = world(prompts=4000)
    result = fit_exact(rows)
    assert result.win_rate == pytest.approx(expit([-0.3, 0.0, 0.3]), abs=0.02)
    assert result.style[0] == pytest.approx(0.8, abs=0.05)
    assert np.abs(result.style[1:]).max() < 0.05
    # the gradient of the likelihood is zero there
    z = rows.style_difference / _spread(rows)
    logits = np.log(result.win_rate / (1 - result.win_rate))[rows.model] + z @ result.style
    error = rows.weight * (expit(logits) - rows.points)
    assert np.abs(error @ z).max() < 1e-4
    assert np.abs(np.bincount(rows.model, weights=error)).max() < 1e-4


def _spread(rows):
    total = rows.weight.sum()
    mean = np.average(rows.style_difference, axis=0, weights=rows.weight)
    return np.sqrt(rows.weight @ (rows.style_difference - mean) ** 2 / (total - 1))


@pytest.mark.parametrize("seed", range(3))
def test_the_truncated_fit_is_where_torch_stops(seed):
    rows = world(seed=seed, models=5)
    own = np.zeros((len(rows.model), 6))
    own[np.arange(len(own)), rows.model], own[:, -1] = 1, -1
    features = np.hstack([own, rows.style_difference])
    ours = lbfgs(features, rows.points, rows.weight)
    x, y, w = (torch.tensor(part) for part in (features, rows.points, rows.weight))
    beta = torch.full((features.shape[1],), 0.5, dtype=torch.float64, requires_grad=True)
    options = {"lr": 0.1, "max_iter": 50, "tolerance_grad": 1e-9, "tolerance_change": 1e-9}
    optimiser = torch.optim.LBFGS([beta], **options)

    def closure():
        optimiser.zero_grad()
        kind = torch.nn.functional.binary_cross_entropy_with_logits
        loss = kind(x @ beta, y, weight=w, reduction="sum")
        loss.backward()
        return loss

    optimiser.step(closure)
    theirs = beta.detach().numpy()
    difference = expit(ours[:5] - ours[5]) - expit(theirs[:5] - theirs[5])
    assert np.abs(100 * difference).max() < 1e-3  # points
    # and that is not yet the maximum
    assert np.abs(ours - theirs).max() < 1e-4


def test_the_objective_is_the_weighted_cross_entropy_and_its_gradient():
    rows = world(prompts=5)
    beta = np.array([0.3, -0.2, 0.1, 0.4])
    x, y, w = (torch.tensor(part) for part in (rows.style_difference, rows.points, rows.weight))
    at = torch.tensor(beta, requires_grad=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ at, y, w, reduction="sum")
    loss.backward()
    ours, gradient = style_control._objective(rows.style_difference, rows.points, rows.weight, beta)
    assert ours == pytest.approx(loss.item())
    assert gradient == pytest.approx(at.grad.numpy())


def test_upstreams_fit_stops_short_of_the_maximum_but_near_it():
    rows = world(models=8)
    difference = 100 * np.abs(fit_truncated(rows, rows.weight).win_rate - fit_exact(rows).win_rate)
    assert 1e-6 < difference.max() < 1.5


def test_the_interval_covers_the_truth_and_is_seeded():
    rows = world(models=1, prompts=300, strength=0.0)
    result, again = fit_exact(rows, seed=1, rounds=200), fit_exact(rows, seed=1, rounds=200)
    assert np.array_equal(result.replicates, again.replicates)
    low, high = np.quantile(result.replicates[:, 0], [0.025, 0.975])
    assert low < result.win_rate[0] < high
    assert 0.02 < high - low < 0.2


def test_a_style_that_nobody_has_has_no_weight():
    rows = world()
    rows.style_difference[:, 2] = 0.0
    assert fit_exact(rows).style[2] == 0
    assert np.isfinite(fit_exact(rows).win_rate).all()


def test_games_that_style_alone_decides_are_an_error():
    rows = world()
    decided = StyleGames(
        rows.model,
        (rows.style_difference[:, 0] > 0).astype(float),
        rows.weight,
        rows.style_difference,
        rows.prompt,
        3,
    )
    with pytest.raises(CheckError, match="without an exception"):
        fit_exact(decided)


def correlated(prompts, rng, longer=0.0, added=None, strength=0.3):
    """Two games a prompt that share what the prompt adds; the judge pays for length."""
    prompt = np.repeat(np.arange(prompts), 2)
    added = rng.normal(size=prompts) if added is None else added
    difference = rng.normal((longer, 0, 0, 0), size=(prompts, 4))
    worth = strength + (added + 0.8 * difference[:, 0])[prompt] + rng.logistic(size=2 * prompts)
    weight = np.where(np.abs(worth) > 2.5, 3.0, 1.0)
    model = np.zeros(2 * prompts, dtype=int)
    return StyleGames(model, (worth > 0) * 1.0, weight, difference[prompt], prompt, 1)


def test_the_resamples_spread_as_the_figure_does_from_benchmark_to_benchmark():
    rng = np.random.default_rng(1)
    result = [fit_exact(correlated(300, rng, longer=0.5), seed=i, rounds=30) for i in range(120)]
    between = np.std([fitted.win_rate[0] for fitted in result], ddof=1)
    within = np.mean([np.std(fitted.replicates[:, 0], ddof=1) for fitted in result])
    # the spread of 120 has a relative standard error of 6.5 %
    assert within / between == pytest.approx(1, abs=0.18)


def test_games_of_one_prompt_are_resampled_together():
    # what a prompt adds to both of its games makes the spread larger: by 12 % in the mean of 12
    rng = np.random.default_rng(1)
    ratios = []
    for seed in range(12):
        rows = correlated(300, rng, longer=0.5)
        apart = replace(rows, prompt=np.arange(len(rows.prompt)))
        spreads = [fit_exact(r, seed=seed, rounds=200).replicates.std() for r in (rows, apart)]
        ratios.append(spreads[0] / spreads[1])
    assert np.mean(ratios) > 1.06


def test_a_model_alone_is_set_at_the_baselines_style_and_not_at_its_own():
    rng = np.random.default_rng(2)
    plain, long = correlated(4000, rng), correlated(4000, rng, longer=1.0)
    raw = [np.average(rows.points, weights=rows.weight) for rows in (plain, long)]
    assert raw[1] - raw[0] > 0.15
    held = [fit_exact(rows).win_rate[0] for rows in (plain, long)]
    # four standard errors of a difference of two figures of 4,000 prompts
    assert abs(held[1] - held[0]) < 4 * np.sqrt(2) * 0.0105
    # where its own mean is zero, nothing is controlled for
    own = fit_truncated(long, long.weight).win_rate[0]
    assert abs(own - raw[1]) < 0.3 * (raw[1] - held[1])


@pytest.mark.parametrize("longer", [0.0, 1.0])
def test_contributions_stand_for_refits(longer):
    result = fit_exact(correlated(400, np.random.default_rng(3), longer), seed=4, rounds=1000)
    contributions = result.contributions[:, 0]
    assert contributions.mean() == pytest.approx(result.win_rate[0])
    linear, refits = (
        resample_weights(400, bit_generator(4), 1000) @ contributions / 400,
        result.replicates[:, 0],
    )
    assert linear.std() == pytest.approx(refits.std(), rel=0.03)
    assert np.corrcoef(linear, refits)[0, 1] > 0.985


def test_a_model_without_a_game_on_a_prompt_has_no_contribution_there():
    complete = world(models=2, prompts=60)
    rows = StyleGames(*(getattr(complete, name)[:-10] for name in FIELDS), 2)
    result = fit_exact(rows)
    assert np.isnan(result.contributions[-5:, 1]).all()
    assert np.isnan(result.contributions).sum() == 5
    assert np.nanmean(result.contributions, axis=0) == pytest.approx(result.win_rate)


def p_value(rng, gap, prompts=250):
    """Return the p value of a paired test of two models that differ in strength by `gap`."""
    added = rng.normal(size=prompts)
    pair = [correlated(prompts, rng, 0.5, added, strength) for strength in (0.0, gap)]
    top = np.hstack([fit_exact(rows).contributions for rows in pair])
    return paired.paired_differences(
        paired.PromptTotals(top, np.ones_like(top)), seed=0, rounds=300
    ).p[0, 1]


@pytest.mark.parametrize("sets", [150, pytest.param(600, marks=pytest.mark.faults)])
def test_a_paired_test_of_equals_errs_one_time_in_twenty_and_detects_a_difference(sets):
    rng = np.random.default_rng(5)
    equal = np.array([p_value(rng, 0.0) for _ in range(sets)])
    # four standard errors of shares of 0.05 and 0.5: of 150 ±0.07 and ±0.16, of 600 ±0.036 and
    # ±0.08; an error that is too small by a third gives shares of 0.19 and 0.65
    slack = 4 * np.sqrt(np.array([0.05 * 0.95, 0.25]) / sets)
    assert abs(np.mean(equal < 0.05) - 0.05) <= slack[0]
    assert abs(np.mean(equal < 0.5) - 0.5) <= slack[1]
    assert np.mean([p_value(rng, 0.6) < 0.05 for _ in range(sets // 6)]) > 0.8
