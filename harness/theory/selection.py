"""The effect of pair selection and of rounded labels on INPO's update.

The exact update is that of independent pairs with Bernoulli labels: equation 5, by proposition 6
and lemma 5. Every other source of pairs is measured by the regression of its update on the exact
one, both as log π_{t+1}/π_t, weighted by π_t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.protocols import GameSource, Objective, PairSource
from harness.statistics.resampling import Floats
from harness.statistics.zero_sum import win_rates
from harness.theory.dynamics import Method, fit_policy, play
from harness.theory.games import Games
from harness.theory.nash import duality_gap
from harness.theory.pairs import BestAndWorst, IndependentPairs, PowerOfTwo
from harness.theory.population import Newton, Population
from harness.theory.results import (
    Cell,
    Curve,
    ExperimentResult,
    ResultTable,
    Subplot,
    mean_over_games,
)
from harness.types import Advance, Estimate, Track


class Selection(Component):
    """Best and worst of K, with rounded and with soft labels, on several kinds of games."""

    games: list[GameSource] = Field(min_length=1)
    objective: Objective
    samples: list[PowerOfTwo] = Field(min_length=1)
    """The K to compare, powers of 2; K = 2 is independent pairs."""
    long_run_samples: PowerOfTwo = 8
    """The K of the second table, which runs every source of pairs to its end."""
    iterations: int = Field(gt=1)
    tau: float = Field(gt=0)
    """τ of the regularised game whose gap the second table shows."""
    seed: int = 0

    def run(self, track: Track) -> ExperimentResult:
        """Measure one update of every source, then play each to the end."""
        games_by_name = {game.name: game.draw(self.seed) for game in self.games}
        steps = len(games_by_name) * (2 * len(self.samples) + 4 * self.iterations)
        with track("selection", steps) as advance:
            updates = [
                self._first_update(name, games, advance) for name, games in games_by_name.items()
            ]
            long_runs = [
                self._long_run(name, games, advance) for name, games in games_by_name.items()
            ]
        return ExperimentResult((*updates, *long_runs), {"selection": tuple(_subplots(updates))})

    def _first_update(self, name: str, games: Games, advance: Advance) -> ResultTable:
        preference, reference = games.rows()
        exact = log_update(self.objective, preference, reference, IndependentPairs())
        rows: list[tuple[Cell, ...]] = []
        for k in self.samples:
            figures: list[Floats] = []
            for source in (BestAndWorst(samples=k), BestAndWorst(samples=k, labels="bernoulli")):
                observed = log_update(self.objective, preference, reference, source)
                figures += regression(exact, observed, reference)
                advance(1)
            rows.append((str(k), *(mean_over_games(games.mean(values)) for values in figures)))
        return ResultTable(
            f"{name}: the first update from best and worst of K, {len(games.reference)} games",
            ("K", "slope, argmax", "correlation, argmax", "slope, soft", "correlation, soft"),
            tuple(rows),
            ("argmax: the more probable one wins; soft: labels drawn with P; exact is 1 and 1",),
        )

    def _long_run(self, name: str, games: Games, advance: Advance) -> ResultTable:
        preference, reference = games.rows()
        rows: list[tuple[Cell, ...]] = []
        for label, source in pair_sources(self.long_run_samples).items():
            method = Method(method=label, objective=self.objective, pairs=source)
            record = [self.iterations - 1, self.iterations]
            run = play(method, preference, reference, record=record, advance=advance)
            regularized_gap = duality_gap(preference, run.last[-1], reference, self.tau)
            original_gap = duality_gap(preference, run.last[-1], reference, 0.0)
            last_step = np.abs(run.last[1] - run.last[0]).sum(-1) / 2
            figures = (regularized_gap, original_gap, last_step)
            rows.append((label, *(mean_over_games(games.mean(values)) for values in figures)))
        return ResultTable(
            f"{name}: after {self.iterations} iterations",
            ("pairs", f"gap, τ = {self.tau:g}", "gap, original", "last step"),
            tuple(rows),
            ("gaps of the last iterate; last step: the total variation between the last two",),
        )


def pair_sources(samples: int) -> dict[str, PairSource]:
    """Return the sources of pairs of the second table, by name."""
    return {
        "independent, soft": IndependentPairs(),
        "independent, argmax": IndependentPairs(labels="argmax"),
        f"best and worst of {samples}, soft": BestAndWorst(samples=samples, labels="bernoulli"),
        f"best and worst of {samples}, argmax": BestAndWorst(samples=samples),
    }


def log_update(
    objective: Objective, preference: Floats, policy: Floats, source: PairSource
) -> Floats:
    """Return log π_{t+1}/π_t of an iteration with π_t = π_ref, shape (rows, actions)."""
    weights = source.weights(preference, policy, np.random.default_rng(0))
    anchors = {"reference": policy, "previous": policy}
    rates = win_rates(preference, policy)
    population = Population(objective, preference, weights, rates, anchors)
    log_ratio: Floats = np.log(fit_policy(Newton(), population)) - np.log(policy)
    return log_ratio


def regression(exact: Floats, observed: Floats, policy: Floats) -> tuple[Floats, Floats]:
    """Return the slope of `observed` on `exact` and their correlation, each of shape (rows,)."""
    x = exact - (policy * exact).sum(-1, keepdims=True)
    y = observed - (policy * observed).sum(-1, keepdims=True)
    covariance, variance = (policy * x * y).sum(-1), (policy * x * x).sum(-1)
    slope: Floats = covariance / variance
    correlation: Floats = covariance / np.sqrt(variance * (policy * y * y).sum(-1))
    return slope, correlation


def _value(cell: Cell) -> float:
    return cell.value if isinstance(cell, Estimate) else float("nan")


def _subplots(tables: Sequence[ResultTable]) -> list[Subplot]:
    """Return slopes and correlations against K, one curve per kind of game and label."""
    subplots = []
    for quantity in ("slope", "correlation"):
        curves = []
        for table in tables:
            name = table.title.partition(":")[0]
            columns = [
                k for k, heading in enumerate(table.headings) if heading.startswith(quantity)
            ]
            for k in columns:
                label = table.headings[k].partition(", ")[2]
                y = [_value(row[k]) for row in table.rows]
                x = [float(str(row[0])) for row in table.rows]
                curves.append(Curve(f"{name}, {label}", x, y, dashed=label == "soft"))
        title = f"The update's {quantity} on the exact one"
        subplots.append(Subplot(title, "K", quantity, tuple(curves), (True, False)))
    return subplots
