"""Where methods go: duality gap and distance to Nash against iterations, on any games."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from harness.config import Component
from harness.statistics.resampling import Floats
from harness.theory.dynamics import Method, play
from harness.theory.games import Game, Games
from harness.theory.measures import duality_gap, kl
from harness.theory.mirror import Trajectory
from harness.theory.nash import nash, original
from harness.theory.report import Cell, Findings, Line, Panel, Report, horizons, over_games
from harness.types import Track

ACTIONS, LINEAR = ("1", "2", "3"), (False, False)
LEAST = 1e-16
"""What a logarithmic axis shows of 0."""


class Convergence(Component):
    """Methods side by side on the same games."""

    game: Game
    methods: list[Method] = Field(min_length=1)
    iterations: int = Field(gt=1)
    tau: float = Field(default=0.1, gt=0)
    """τ of the regularised Nash policy that distances are taken to."""
    seed: int = 0

    def run(self, track: Track) -> Report:
        """Play every method, and tell where it was and where it ended."""
        games, record = self.game.draw(self.seed), horizons(self.iterations)
        if games.reference.shape[-1] == 3:
            record = list(range(1, self.iterations + 1))
        preference, reference = games.rows()
        solved = nash(preference, reference, self.tau).policy
        found: dict[str, Trajectory] = {}
        with track("convergence", len(self.methods) * self.iterations) as advance:
            for method in self.methods:
                found[method.method] = play(
                    method, preference, reference, record=record, seed=self.seed, advance=advance
                )
        rows = tuple(self._row(name, games, solved, run) for name, run in found.items())
        count = len(games.reference)
        table = Findings(
            f"{self.game.name}: {count} game{'s' * (count > 1)}, {self.iterations} iterations",
            ("method", "gap, last", "gap, mixture", f"KL(Nash τ={self.tau:g}), last", "KL(ref)"),
            rows,
            (
                "gap: of the original game, 2 (max P(y ≻ π) − ½); in brackets 95 % over games",
                f"Nash τ={self.tau:g} has the gap "
                f"{duality_gap(preference, solved, reference, 0.0).mean():.4f}",
            ),
        )
        return Report((table,), self._figures(games, solved, found))

    def _row(self, name: str, games: Games, solved: Floats, run: Trajectory) -> tuple[Cell, ...]:
        preference, reference = games.rows()
        figures = (
            duality_gap(preference, run.last[-1], reference, 0.0),
            duality_gap(preference, run.mixture[-1], reference, 0.0),
            kl(solved, run.last[-1]),
            kl(run.last[-1], reference),
        )
        return (name, *(over_games(games.mean(values)) for values in figures))

    def _figures(
        self, games: Games, solved: Floats, found: dict[str, Trajectory]
    ) -> dict[str, tuple[Panel, ...]]:
        preference, reference = games.rows()
        gaps, apart = [], []
        for name, run in found.items():
            gap = duality_gap(preference, run.last, reference, 0.0).mean(-1)
            mixed = duality_gap(preference, run.mixture, reference, 0.0).mean(-1)
            gaps += [_line(name, run, gap), _line(f"{name}, mixture", run, mixed, dashed=True)]
            apart.append(_line(name, run, kl(solved, run.last).mean(-1)))
        panels = (
            Panel("Duality gap of the original game", "iteration", "gap", tuple(gaps)),
            Panel(f"Distance to Nash, τ = {self.tau:g}", "iteration", "KL, nats", tuple(apart)),
        )
        figures: dict[str, tuple[Panel, ...]] = {"convergence": panels}
        if reference.shape[-1] == 3:
            figures["simplex"] = simplex(found, self._stars(preference, solved))
        return figures

    def _stars(self, preference: Floats, solved: Floats) -> tuple[Line, ...]:
        """Return where the first game's Nash policies lie: the original's, the regularised one."""
        unpulled = original(preference[:1]).policy
        named = {"Nash": unpulled, f"Nash, τ = {self.tau:g}": solved[:1]}
        return tuple(Line(name, *_places(policy)) for name, policy in named.items())


def simplex(found: dict[str, Trajectory], stars: tuple[Line, ...]) -> tuple[Panel, ...]:
    """Return the paths of the first game's policies among three actions, a triangle a method."""
    return tuple(
        Panel(name, "", "", (Line(name, *_places(run.last[:, 0])), *stars), LINEAR, ACTIONS)
        for name, run in found.items()
    )


def _places(policies: Floats) -> tuple[list[float], list[float]]:
    """Return where policies lie in the triangle with corners (0, 0), (1, 0), (½, √3/2)."""
    across = policies[:, 1] + policies[:, 2] / 2
    return across.tolist(), (policies[:, 2] * np.sqrt(3) / 2).tolist()


def _line(name: str, run: Trajectory, values: Floats, *, dashed: bool = False) -> Line:
    return Line(name, list(run.iterations), np.maximum(values, LEAST).tolist(), dashed)
