"""How often 95 % intervals hold the truth, where all items agree, or all but few.

    python benchmarks/coverage.py [--simulations 1000] [--json FILE]

A row each for win/loss means, weighted games of Arena-Hard's kind (two a prompt, a strong verdict
counting three times), AlpacaEval's length-controlled win rate, and means over training seeds.
Beside the coverage of the reported interval stands the coverage of the bootstrap alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks import simulation
from benchmarks.simulation import Row
from harness.statistics import bootstrap
from harness.statistics.intervals import SHARE, widen_to_exact
from harness.statistics.length_control_glm import GamedRows, ModelRows, length_controlled_win_rate
from harness.statistics.logistic import sigmoid
from harness.statistics.resampling import Floats, bit_generator, resample_weights
from harness.statistics.seeds import mean_over_seeds, noise_of
from harness.types import Estimate

RATES = (0.01, 0.02, 0.05, 0.5, 0.98)
DIFFICULTY, LENGTH, LOGITS = 0.8, -0.9, 1.5


@functools.cache
def _resamples(n: int, rounds: int) -> Floats:
    return resample_weights(n, bit_generator(0), rounds)


@contextmanager
def shared_resamples() -> Iterator[None]:
    """Draw the weights of the bootstrap once for all simulations, which takes most of the time."""
    patched: Any = bootstrap
    original, patched.resample_weights = patched.resample_weights, lambda n, _, r: _resamples(n, r)
    try:
        yield
    finally:
        patched.resample_weights = original


def ends(estimates: Sequence[Estimate]) -> Floats:
    """Return the lower and the upper ends, shape (2, estimates)."""
    return np.array([(e.low, e.high) for e in estimates], dtype=np.float64).T


def row(name: str, truth: float, reported: list[Estimate], plain: Sequence[Estimate] = ()) -> Row:
    """Return the coverage in percent, the shares above and below the truth, and the width."""
    low, high = ends(reported)
    figures: Row = {
        "figure": name,
        "truth": truth,
        "covered": 100 * float(np.mean((low <= truth) & (truth <= high))),
        "above": 100 * float(np.mean(low > truth)),
        "below": 100 * float(np.mean(high < truth)),
        "mean width": float(np.mean(high - low)),
    }
    if plain:
        low, high = ends(plain)
        figures["bootstrap alone"] = 100 * float(np.mean((low <= truth) & (truth <= high)))
    return figures


def means(rng: np.random.Generator, simulations: int) -> list[Row]:
    """Wins and losses."""
    rows = []
    for prompts in (50, 80, 200, 805):
        for rate in RATES:
            drawn = (rng.random((simulations, prompts)) < rate).astype(np.float64)
            reported, plain = (
                [bootstrap.interval(list(points), seed=0, bounds=bounds) for points in drawn]
                for bounds in (SHARE, None)
            )
            rows.append(row(f"wins, {prompts} prompts", rate, reported, plain))
    return rows


def games(rng: np.random.Generator, simulations: int, prompts: int = 80) -> list[Row]:
    """Two games a prompt, alike in 70 % of the prompts; losses are strong more often than wins."""

    def draw(rate: float, count: int) -> tuple[Floats, Floats]:
        first, other = (rng.random((count, prompts)) < rate for _ in range(2))
        second = np.where(rng.random((count, prompts)) < 0.7, first, other)
        won = np.stack([first, second], axis=-1)
        weight = np.where(rng.random(won.shape) < np.where(won, 0.1, 0.6), 3.0, 1.0)
        return (won * weight).sum(axis=-1), weight.sum(axis=-1)

    rows = []
    for rate in RATES:
        won, weight = draw(rate, 20_000)
        truth = float(won.sum() / weight.sum())
        pairs = list(zip(*draw(rate, simulations), strict=True))
        reported, plain = (
            [bootstrap.ratio_interval(*pair, seed=0, bounds=bounds) for pair in pairs]
            for bounds in (SHARE, None)
        )
        rows.append(row(f"weighted games, {prompts} prompts", truth, reported, plain))
    return rows


def length_control(rng: np.random.Generator, simulations: int) -> list[Row]:
    """AlpacaEval's model, 805 instructions."""

    def preferences(logits: Floats) -> Floats:
        p = np.clip(sigmoid(logits), 1e-4, 1 - 1e-4)
        return rng.beta(0.3 * p, 0.3 * (1 - p))

    spread, hard = rng.normal(size=200), LOGITS * rng.normal(size=200)
    gamed = GamedRows(preferences(LENGTH * np.tanh(spread) + DIFFICULTY * hard), spread, hard)
    table = []
    for ours in (-6.0, -5.0, -3.8, 0.0):
        many = ours + DIFFICULTY * LOGITS * rng.normal(size=1_000_000)
        truth, simulated = 100 * float(np.mean(sigmoid(many))), []
        for _ in range(simulations):
            length, baseline = (np.round(rng.lognormal(m, 0.6, 805)) for m in (7.0, 7.3))
            difficulty = LOGITS * rng.normal(size=805)
            scaled = np.tanh((baseline - length) / np.std(baseline - length, ddof=1))
            logits = ours + LENGTH * scaled + DIFFICULTY * difficulty
            rows = ModelRows(preferences(logits), length, baseline, difficulty)
            fit = length_controlled_win_rate(rows, gamed, seed=0, rounds=200, strength=21.5)
            simulated.append(fit.estimate)
        table.append(row("length-controlled, 805 instructions, in percent", truth, simulated))
    return table


def seeds(rng: np.random.Generator, simulations: int, prompts: int = 200) -> list[Row]:
    """Means over training seeds whose logits vary."""
    rows = []
    for count in (2, 3, 5):
        for logit, spread in ((0.0, 0.1), (0.0, 0.5), (3.0, 0.1), (3.0, 0.5), (-4.0, 0.3)):
            truth = 100 * float(np.mean(sigmoid(logit + spread * rng.normal(size=1_000_000))))
            simulated = []
            for _ in range(simulations):
                rates = sigmoid(logit + spread * rng.normal(size=count))
                wins = np.where(rng.random((count, prompts)) < rates[:, None], 100.0, 0.0)
                by_prompt = wins.mean(axis=0)
                error = float(by_prompt.std(ddof=1) / prompts**0.5)
                mean = mean_over_seeds(
                    wins.mean(axis=1).tolist(), error, prompts, noise=noise_of(wins)
                )
                simulated.append(widen_to_exact(mean, by_prompt, (0.0, 100.0)))
            name = f"{count} seeds that vary by {spread} logits, in percent"
            rows.append(row(name, truth, simulated))
    return rows


def simulate(count: int) -> list[Row]:
    """Return a row a figure, from as many simulations each."""
    rng = np.random.default_rng(0)
    with shared_resamples():
        return [
            *means(rng, count),
            *games(rng, count),
            *length_control(rng, min(count, 200)),
            *seeds(rng, count),
        ]


def main(arguments: list[str] | None = None) -> None:
    """Simulate, print, and write the figures if a file is named."""
    simulation.run(__doc__, simulate, arguments)


if __name__ == "__main__":
    main()
