"""The condition for a constant η is a local one: a limit cycle beside a stable Nash policy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from harness.core.config import build, load
from harness.theory.games import Random
from harness.theory.mirror import constant_eta, min_stable_eta, mirror_descent, rotation
from harness.theory.nash import kl, solve_nash
from harness.theory.stability import NEARBY, Stability, orbit

PAGE = Path(__file__).parents[2] / "docs/theory.md"
ROW = re.compile(
    r"^\| ([\d.]+) \| (\d+) \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) % \|$", re.M
)
ROWS = [tuple(map(float, row)) for row in ROW.findall(PAGE.read_text("utf-8"))]
TAU, ETA = 0.02, 0.06


@pytest.fixture(scope="module")
def experiment() -> Stability:
    loaded = build(load("theory", "stability"))
    assert isinstance(loaded, Stability)
    return loaded


@pytest.fixture(scope="module")
def example(experiment):
    """The game with a limit cycle, and its Nash policy."""
    preference, reference = experiment.example.draw(0).rows()
    return preference, reference, solve_nash(preference, reference, TAU).policy


def test_the_page_shows_every_row_of_the_experiment(experiment):
    expected = [(tau, ratio) for tau in experiment.taus for ratio in experiment.ratios]
    assert [row[:2] for row in ROWS] == expected
    # whoever settles from the reference is among those whose Nash policy is stable
    assert all(
        settled <= nearby + 0.1 <= predicted + 0.2 for _, _, settled, nearby, predicted, _ in ROWS
    )
    assert all(
        agree >= 100 - (predicted - settled) - 0.1 for *_, settled, _, predicted, agree in ROWS
    )


@pytest.mark.parametrize("tau", [0.1, 0.02, 0.01])
def test_the_predicted_shares_of_the_page_are_recomputed(experiment, tau):
    preference, reference = experiment.game.draw(experiment.seed).rows()
    nash_policy = solve_nash(preference, reference, tau).policy
    threshold = min_stable_eta(rotation(preference, nash_policy), tau)
    for _, ratio, _, _, predicted, _ in (row for row in ROWS if row[0] == tau):
        assert 100 * float((ratio * tau > threshold).mean()) == pytest.approx(predicted, abs=0.06)


def test_near_the_nash_policy_the_condition_is_exact():
    preference, reference = Random(name="r", games=120).draw(3).rows()
    nash_policy = solve_nash(preference, reference, TAU).policy
    threshold = min_stable_eta(rotation(preference, nash_policy), TAU)
    nearby = (1 - NEARBY) * nash_policy + NEARBY * reference
    run = mirror_descent(
        *(preference, reference),
        eta=constant_eta(ETA),
        tau=TAU,
        record=[3000],
        start=nearby,
    )
    clear = np.abs(ETA / threshold - 1) > 0.02  # closer to the threshold it takes longer
    settled = kl(nash_policy, run.last[0]) < 1e-8
    assert (settled == (threshold < ETA))[clear].all()
    assert 0.1 < settled.mean() < 0.5


def test_a_limit_cycle_lies_beside_a_stable_nash_policy(example):
    preference, reference, nash_policy = example
    (threshold,) = min_stable_eta(rotation(preference, nash_policy), TAU)
    assert threshold / TAU == pytest.approx(2.29, abs=0.005)  # docs/theory.md, and below η = 3 τ
    cycle = orbit(preference, reference, reference, TAU, 3, list(range(4000, 4052)))
    assert np.abs(cycle[17:] - cycle[:-17]).max() < 1e-6
    assert np.abs(cycle[1:] - cycle[:-1]).max() > 0.1
    distances = kl(nash_policy, cycle)
    assert (distances.min(), distances.max()) == (
        pytest.approx(0.33, abs=0.005),
        pytest.approx(2.77, abs=0.005),
    )
    nearby = (1 - NEARBY) * nash_policy + NEARBY * reference
    assert kl(nash_policy, orbit(preference, reference, nearby, TAU, 3, [4000]))[0] < 1e-12


def test_the_experiment_prints_and_draws_both(experiment):
    from harness.cli.display import track

    small = {"taus": [TAU], "ratios": [3.0], "patience": 1000, "game": experiment.example}
    result = experiment.model_copy(update=small).run(track)
    (table,) = result.tables
    assert table.rows == (("0.02", "3", 0.0, 1.0, 1.0, 0.0),)
    assert "local condition" in table.notes[0]
    ends, beginnings = result.figures["limit-cycle"]
    assert [curve.label for curve in ends.curves] == ["from the reference", "from nearby"]
    assert np.ptp(ends.curves[0].x) > 0.5 > 1e-6 > np.ptp(ends.curves[1].x)
    assert beginnings.curves[1].y[0] > beginnings.curves[1].y[-1]
