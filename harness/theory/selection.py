"""What choosing pairs and rounding labels do to INPO's update, against the exact one.

The exact update is what the objective makes of independent pairs with Bernoulli labels: equation 5,
by proposition 6 and lemma 5. Every other source of pairs is measured by the regression of its
update on the exact one, both as log π_{t+1}/π_t, weighted by π_t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from harness.config import Component
from harness.protocols import Objective
from harness.statistics.resampling import Floats
from harness.theory.dynamics import Method, fitted, play
from harness.theory.games import Game, Games
from harness.theory.measures import duality_gap, win_rates
from harness.theory.pairs import BestAndWorst, Independent, PairSource, PowerOfTwo
from harness.theory.population import Newton, Population
from harness.theory.report import Cell, Findings, Line, Panel, Report, over_games
from harness.types import Advance, Track


class Selection(Component):
    """Best and worst of K, labels rounded or not, on several kinds of games."""

    games: list[Game] = Field(min_length=1)
    objective: Objective
    samples: list[PowerOfTwo] = Field(min_length=1)
    """The K, powers of 2; 2 is independent pairs."""
    shown: PowerOfTwo = 8
    """The K of the second table, which follows the sources to where they lead."""
    iterations: int = Field(gt=1)
    tau: float = Field(gt=0)
    """τ of the regularised game whose gap the second table tells."""
    seed: int = 0

    def run(self, track: Track) -> Report:
        """Measure one update of every source, then play each to the end."""
        drawn = {game.name: game.draw(self.seed) for game in self.games}
        steps = len(drawn) * (2 * len(self.samples) + 4 * self.iterations)
        with track("selection", steps) as advance:
            first = [self._update(name, games, advance) for name, games in drawn.items()]
            far = [self._led(name, games, advance) for name, games in drawn.items()]
        return Report((*first, *far), {"selection": tuple(_panels(first))})

    def _update(self, name: str, games: Games, advance: Advance) -> Findings:
        preference, reference = games.rows()
        exact = update(self.objective, preference, reference, Independent())
        rows: list[tuple[Cell, ...]] = []
        for k in self.samples:
            figures: list[Floats] = []
            for source in (BestAndWorst(samples=k), BestAndWorst(samples=k, labels="bernoulli")):
                moved = update(self.objective, preference, reference, source)
                figures += regression(exact, moved, reference)
                advance(1)
            rows.append((str(k), *(over_games(games.mean(values)) for values in figures)))
        return Findings(
            f"{name}: the first update from best and worst of K, {len(games.reference)} games",
            ("K", "slope, argmax", "correlation, argmax", "slope, soft", "correlation, soft"),
            tuple(rows),
            ("argmax: the more probable one wins; soft: labels drawn with P; exact is 1 and 1",),
        )

    def _led(self, name: str, games: Games, advance: Advance) -> Findings:
        preference, reference = games.rows()
        rows: list[tuple[Cell, ...]] = []
        for label, source in sources(self.shown).items():
            method = Method(method=label, objective=self.objective, pairs=source)
            record = [self.iterations - 1, self.iterations]
            run = play(method, preference, reference, record=record, advance=advance)
            regularised = duality_gap(preference, run.last[-1], reference, self.tau)
            original = duality_gap(preference, run.last[-1], reference, 0.0)
            moved = np.abs(run.last[1] - run.last[0]).sum(-1) / 2
            figures = (regularised, original, moved)
            rows.append((label, *(over_games(games.mean(values)) for values in figures)))
        return Findings(
            f"{name}: after {self.iterations} iterations",
            ("pairs", f"gap, τ = {self.tau:g}", "gap, original", "last step"),
            tuple(rows),
            ("gaps of the last iterate; last step: the total variation between the last two",),
        )


def sources(samples: int) -> dict[str, PairSource]:
    """Return the sources of pairs that are followed, by name."""
    return {
        "independent, soft": Independent(),
        "independent, argmax": Independent(labels="argmax"),
        f"best and worst of {samples}, soft": BestAndWorst(samples=samples, labels="bernoulli"),
        f"best and worst of {samples}, argmax": BestAndWorst(samples=samples),
    }


def update(objective: Objective, preference: Floats, policy: Floats, source: PairSource) -> Floats:
    """Return log π_{t+1}/π_t of an iteration with π_t = π_ref, shape (rows, actions)."""
    weights = source.weights(preference, policy, np.random.default_rng(0))
    anchors = {"reference": policy, "previous": policy}
    rates = win_rates(preference, policy)
    population = Population(objective, preference, weights, rates, anchors)
    found: Floats = np.log(fitted(Newton(), population)) - np.log(policy)
    return found


def regression(exact: Floats, moved: Floats, policy: Floats) -> tuple[Floats, Floats]:
    """Return the slope of `moved` on `exact` and their correlation, each of shape (rows,)."""
    x = exact - (policy * exact).sum(-1, keepdims=True)
    y = moved - (policy * moved).sum(-1, keepdims=True)
    both, own = (policy * x * y).sum(-1), (policy * x * x).sum(-1)
    slope: Floats = both / own
    correlation: Floats = both / np.sqrt(own * (policy * y * y).sum(-1))
    return slope, correlation


def _panels(tables: Sequence[Findings]) -> list[Panel]:
    """Return the slopes and the correlations against K, a curve a kind of game and label."""
    panels = []
    for what in ("slope", "correlation"):
        lines = []
        for table in tables:
            name = table.title.partition(":")[0]
            columns = [k for k, heading in enumerate(table.headings) if heading.startswith(what)]
            for k in columns:
                label = table.headings[k].partition(", ")[2]
                y = [getattr(row[k], "value", float("nan")) for row in table.rows]
                x = [float(str(row[0])) for row in table.rows]
                lines.append(Line(f"{name}, {label}", x, y, dashed=label == "soft"))
        title = f"The update's {what} on the exact one"
        panels.append(Panel(title, "K", what, tuple(lines), (True, False)))
    return panels
