"""How often 95 % intervals hold the truth, where all items agree, or all but few.

`nice python benchmarks/coverage.py [SIMULATIONS]` prints a table: win/loss means, weighted games of
Arena-Hard's kind (two a prompt, a strong verdict counting three times), AlpacaEval's
length-controlled win rate, and means over training seeds. `plain` is the bootstrap alone.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np

from harness.statistics import bootstrap
from harness.statistics.intervals import SHARE, widen_to_exact
from harness.statistics.length_control_glm import GamedRows, ModelRows, length_controlled_win_rate
from harness.statistics.logistic import sigmoid
from harness.statistics.resampling import Floats, bit_generator, resample_weights
from harness.statistics.seeds import mean_over_seeds
from harness.types import Estimate

RATES = (0.01, 0.02, 0.05, 0.5, 0.98)
DIFFICULTY, LENGTH, LOGITS = 0.8, -0.9, 1.5


@functools.cache
def _resamples(n: int, rounds: int) -> Floats:
    return resample_weights(n, bit_generator(0), rounds)


def report(name: str, estimates: list[Estimate], truth: float) -> None:
    """Print the coverage in percent, and the share of intervals below and above the truth."""
    ends = np.array([(e.low, e.high) for e in estimates], dtype=np.float64)
    above, below = np.mean(ends[:, 0] > truth), np.mean(ends[:, 1] < truth)
    width = np.mean(ends[:, 1] - ends[:, 0])
    covered = 100 * (1 - above - below)
    print(f"{name:58} {covered:6.1f} {100 * above:6.1f} {100 * below:6.1f}  width {width:.4g}")


def means(rng: np.random.Generator, simulations: int) -> None:
    """Wins and losses."""
    for prompts in (50, 80, 200, 805):
        for rate in RATES:
            rows = (rng.random((simulations, prompts)) < rate).astype(np.float64)
            for name, bounds in (("plain", None), ("", SHARE)):
                simulated = [bootstrap.interval(list(row), seed=0, bounds=bounds) for row in rows]
                report(f"wins, n = {prompts}, {rate:.0%} {name}", simulated, rate)


def games(rng: np.random.Generator, simulations: int, prompts: int = 80) -> None:
    """Two games a prompt, alike in 70 % of the prompts; losses are strong more often than wins."""

    def draw(rate: float, count: int) -> tuple[Floats, Floats]:
        first, other = (rng.random((count, prompts)) < rate for _ in range(2))
        second = np.where(rng.random((count, prompts)) < 0.7, first, other)
        won = np.stack([first, second], axis=-1)
        weight = np.where(rng.random(won.shape) < np.where(won, 0.1, 0.6), 3.0, 1.0)
        return (won * weight).sum(axis=-1), weight.sum(axis=-1)

    for rate in RATES:
        won, weight = draw(rate, 20_000)
        truth = float(won.sum() / weight.sum())
        pairs = list(zip(*draw(rate, simulations), strict=True))
        for name, bounds in (("plain", None), ("", SHARE)):
            simulated = [bootstrap.ratio_interval(*pair, seed=0, bounds=bounds) for pair in pairs]
            report(f"weighted games, 80 prompts, {truth:.1%} {name}", simulated, truth)


def length_control(rng: np.random.Generator, simulations: int) -> None:
    """AlpacaEval's model, 805 instructions."""

    def preferences(logits: Floats) -> Floats:
        p = np.clip(sigmoid(logits), 1e-4, 1 - 1e-4)
        return rng.beta(0.3 * p, 0.3 * (1 - p))

    spread, hard = rng.normal(size=200), LOGITS * rng.normal(size=200)
    gamed = GamedRows(preferences(LENGTH * np.tanh(spread) + DIFFICULTY * hard), spread, hard)
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
        report(f"length-controlled, 805 instructions, {truth / 100:.1%}", simulated, truth)


def seeds(rng: np.random.Generator, simulations: int, prompts: int = 200) -> None:
    """Means over training seeds whose logits vary."""
    for count in (2, 3, 5):
        for logit, spread in ((0.0, 0.1), (0.0, 0.5), (3.0, 0.1), (3.0, 0.5), (-4.0, 0.3)):
            truth = 100 * float(np.mean(sigmoid(logit + spread * rng.normal(size=1_000_000))))
            simulated = []
            for _ in range(simulations):
                rates = sigmoid(logit + spread * rng.normal(size=count))
                wins = 100.0 * (rng.random((count, prompts)) < rates[:, None])
                by_prompt = wins.mean(axis=0)
                error = float(by_prompt.std(ddof=1) / prompts**0.5)
                mean = mean_over_seeds(wins.mean(axis=1).tolist(), error, prompts)
                simulated.append(widen_to_exact(mean, by_prompt, (0.0, 100.0)))
            report(f"{count} seeds, {truth / 100:.1%}, {spread} logits apart", simulated, truth)


if __name__ == "__main__":
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    patched: Any = bootstrap
    patched.resample_weights = lambda n, _, rounds: _resamples(n, rounds)
    source = np.random.default_rng(0)
    print(f"{'':58} {'covered':>6} {'above':>6} {'below':>6}")
    seeds(source, total)
    means(source, total)
    games(source, total)
    length_control(source, min(total, 200))
