"""Convergence of methods on games: duality gap and distance to Nash against iterations.

`Convergence` compares methods, `Ablation` varies τ in INPO's exact update from 0 to η.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Component
from harness.protocols import GameSource
from harness.statistics.resampling import Floats
from harness.statistics.zero_sum import solve_original
from harness.theory.closed_form import ClosedForm
from harness.theory.dynamics import Method, play
from harness.theory.games import Games
from harness.theory.mirror import Trajectory, constant_eta, mirror_descent
from harness.theory.nash import duality_gap, kl, solve_nash
from harness.theory.results import (
    Cell,
    Curve,
    ExperimentResult,
    ResultTable,
    Subplot,
    log_spaced_iterations,
    mean_over_games,
)
from harness.types import Track

ACTIONS, LINEAR = ("1", "2", "3"), (False, False)
AXIS_FLOOR = 1e-16
"""The value shown for 0 on a logarithmic axis."""


class Convergence(Component):
    """Methods side by side on the same games."""

    game: GameSource
    methods: list[Method | ClosedForm] = Field(min_length=1)
    iterations: int = Field(gt=1)
    tau: float = Field(default=0.1, gt=0)
    """τ of the regularised Nash policy from which distances are measured."""
    seed: int = 0

    def run(self, track: Track) -> ExperimentResult:
        """Play every method; return its path and its final gaps and distances."""
        games, record = self.game.draw(self.seed), log_spaced_iterations(self.iterations)
        if games.reference.shape[-1] == 3:
            record = list(range(1, self.iterations + 1))
        preference, reference = games.rows()
        nash_policy = solve_nash(preference, reference, self.tau).policy
        trajectories: dict[str, Trajectory] = {}
        with track("convergence", len(self.methods) * self.iterations) as advance:
            for method in self.methods:
                trajectories[method.method] = play(
                    method, preference, reference, record=record, seed=self.seed, advance=advance
                )
        rows = tuple(self._row(name, games, nash_policy, run) for name, run in trajectories.items())
        count = len(games.reference)
        table = ResultTable(
            f"{self.game.name}: {count} game{'s' * (count > 1)}, {self.iterations} iterations",
            ("method", "gap, last", "gap, mixture", f"KL(Nash τ={self.tau:g}), last", "KL(ref)"),
            rows,
            (
                "gap: of the original game, 2 (max P(y ≻ π) − ½); in brackets 95 % over games",
                f"Nash τ={self.tau:g} has the gap "
                f"{duality_gap(preference, nash_policy, reference, 0.0).mean():.4f}",
            ),
        )
        return ExperimentResult((table,), self._figures(games, nash_policy, trajectories))

    def _row(
        self, name: str, games: Games, nash_policy: Floats, run: Trajectory
    ) -> tuple[Cell, ...]:
        preference, reference = games.rows()
        figures = (
            duality_gap(preference, run.last[-1], reference, 0.0),
            duality_gap(preference, run.mixture[-1], reference, 0.0),
            kl(nash_policy, run.last[-1]),
            kl(run.last[-1], reference),
        )
        return (name, *(mean_over_games(games.mean(values)) for values in figures))

    def _figures(
        self, games: Games, nash_policy: Floats, trajectories: dict[str, Trajectory]
    ) -> dict[str, tuple[Subplot, ...]]:
        preference, reference = games.rows()
        gaps, distances = [], []
        for name, run in trajectories.items():
            gap = duality_gap(preference, run.last, reference, 0.0).mean(-1)
            mixed = duality_gap(preference, run.mixture, reference, 0.0).mean(-1)
            gaps += [_curve(name, run, gap), _curve(f"{name}, mixture", run, mixed, dashed=True)]
            distances.append(_curve(name, run, kl(nash_policy, run.last).mean(-1)))
        subplots = (
            Subplot("Duality gap of the original game", "iteration", "gap", tuple(gaps)),
            Subplot(
                f"Distance to Nash, τ = {self.tau:g}", "iteration", "KL, nats", tuple(distances)
            ),
        )
        figures: dict[str, tuple[Subplot, ...]] = {"convergence": subplots}
        if reference.shape[-1] == 3:
            figures["simplex"] = simplex(trajectories, self._nash_points(preference, nash_policy))
        return figures

    def _nash_points(self, preference: Floats, nash_policy: Floats) -> tuple[Curve, ...]:
        """Return the original and the regularised Nash policy of the first game as points."""
        original_nash = solve_original(preference[:1]).policy
        policies = {"Nash": original_nash, f"Nash, τ = {self.tau:g}": nash_policy[:1]}
        return tuple(
            Curve(name, *_triangle_coordinates(policy)) for name, policy in policies.items()
        )


def simplex(trajectories: dict[str, Trajectory], points: tuple[Curve, ...]) -> tuple[Subplot, ...]:
    """Return the paths of the first game's policies over three actions, one triangle per method."""
    return tuple(
        Subplot(
            name,
            "",
            "",
            (Curve(name, *_triangle_coordinates(run.last[:, 0])), *points),
            LINEAR,
            ACTIONS,
        )
        for name, run in trajectories.items()
    )


def _triangle_coordinates(policies: Floats) -> tuple[list[float], list[float]]:
    """Return the policies' coordinates in the triangle with corners (0, 0), (1, 0), (½, √3/2)."""
    x = policies[:, 1] + policies[:, 2] / 2
    return x.tolist(), (policies[:, 2] * np.sqrt(3) / 2).tolist()


def _curve(name: str, run: Trajectory, values: Floats, *, dashed: bool = False) -> Curve:
    return Curve(name, list(run.iterations), np.maximum(values, AXIS_FLOOR).tolist(), dashed)


class Ablation(Component):
    """INPO's exact update with one η and several τ."""

    game: GameSource
    eta: float = Field(gt=0)
    taus: list[float] = Field(min_length=1)
    iterations: int = Field(gt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _check_taus(self) -> Ablation:
        for tau in self.taus:
            if not 0 <= tau <= self.eta:
                raise ValueError(f"tau must lie between 0 and eta ({self.eta:g}): {tau:g}")
        return self

    def run(self, track: Track) -> ExperimentResult:
        """Run every τ on the same games."""
        games = self.game.draw(self.seed)
        preference, reference = games.rows()
        record = log_spaced_iterations(self.iterations)
        rows: list[tuple[Cell, ...]] = []
        curves: list[Curve] = []
        with track("ablation", len(self.taus) * len(reference)) as advance:
            for tau in self.taus:
                run = mirror_descent(
                    preference,
                    reference,
                    eta=constant_eta(self.eta),
                    tau=tau,
                    record=record,
                    advance=advance,
                )
                gaps = duality_gap(preference, run.last, reference, 0.0)
                nash_policy = solve_nash(preference, reference, tau).policy
                figures = (
                    gaps[-1],
                    duality_gap(preference, run.mixture[-1], reference, 0.0),
                    duality_gap(preference, nash_policy, reference, 0.0),
                    kl(run.last[-1], reference),
                )
                rows.append((f"{tau:g}", *(mean_over_games(games.mean(f)) for f in figures)))
                curves.append(Curve(f"τ = {tau:g}", record, gaps.mean(-1).tolist()))
        table = ResultTable(
            f"{self.game.name}: η = {self.eta:g}, {self.iterations} iterations",
            ("τ", "gap, last", "gap, mixture", "gap of its Nash", "KL(last, reference)"),
            tuple(rows),
            ("gap: of the original game; in brackets 95 % over games; τ = 0 is INPO without KL",),
        )
        subplot = Subplot("Duality gap of the last iterate", "iteration", "gap", tuple(curves))
        return ExperimentResult((table,), {"ablation": (subplot,)})
