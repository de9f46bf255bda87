"""Theorems 3 and 4 against exact runs: bounds, rates, and the constant η that converge."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.protocols import GameSource
from harness.statistics.resampling import Floats
from harness.theory.mirror import (
    constant_eta,
    min_stable_eta,
    mirror_descent,
    rotation,
    shrinking_eta,
)
from harness.theory.nash import duality_gap, kl, solve_nash
from harness.theory.results import Cell, Curve, ExperimentResult, ResultTable, Subplot
from harness.theory.stability import CONVERGED_KL, LOCAL_NOTE
from harness.types import Advance, Track


class Regret(Component):
    """INPO's exact update, equation 5, on random games."""

    game: GameSource
    tau: float = Field(gt=0)
    horizons: list[int] = Field(min_length=1)
    """The T at which the theorems are checked, ascending."""
    ratios: list[Annotated[float, Field(ge=1)]]
    """The constant η/τ to try."""
    patience: int = Field(gt=1)
    """Number of iterations within which a constant η has to converge."""
    seed: int = 0

    def run(self, track: Track) -> ExperimentResult:
        """Check both theorems, then every ratio η/τ."""
        preference, reference = self.game.draw(self.seed).rows()
        runs = len(self.horizons) + 1 + len(self.ratios)
        with track("regret", runs * len(reference)) as advance:
            average = self._theorem_3(preference, reference, advance)
            last = self._theorem_4(preference, reference, advance)
            steady = self._constant(preference, reference, advance)
        return ExperimentResult(
            (average, last, steady),
            {"regret": (_subplot(average, "gap"), _subplot(last, "KL, nats"))},
        )

    def _theorem_3(self, preference: Floats, reference: Floats, advance: Advance) -> ResultTable:
        rows: list[tuple[Cell, ...]] = []
        for horizon in self.horizons:
            eta, bound = theorem_3(reference, self.tau, horizon)
            trajectory = mirror_descent(
                preference,
                reference,
                eta=constant_eta(eta),
                tau=self.tau,
                record=[horizon],
                advance=advance,
            )
            gap = duality_gap(preference, trajectory.mixture[0], reference, self.tau)
            rows.append((horizon, eta, float(gap.mean()), float(gap.max()), bound))
        return ResultTable(
            f"Theorem 3: the mixture's duality gap, {len(reference)} games, τ = {self.tau:g}",
            ("T", "η", "mean", "largest", "bound"),
            tuple(rows),
            ("the regularised game's gap; bound: 2 Reg/T with η = max(Bτ, 1) √(T/D)",),
        )

    def _theorem_4(self, preference: Floats, reference: Floats, advance: Advance) -> ResultTable:
        nash_policy = solve_nash(preference, reference, self.tau).policy
        trajectory = mirror_descent(
            preference,
            reference,
            eta=shrinking_eta(self.tau),
            tau=self.tau,
            record=self.horizons,
            advance=advance,
        )
        distances = kl(nash_policy, trajectory.last)
        rows = [
            (t, float(row.mean()), float(row.max()), theorem_4(self.tau, t))
            for t, row in zip(self.horizons, distances, strict=True)
        ]
        return ResultTable(
            f"Theorem 4: KL(π*, π_T) with η_t = τ(t + 2)/2, {len(reference)} games",
            ("T", "mean", "largest", "bound"),
            tuple(rows),
        )

    def _constant(self, preference: Floats, reference: Floats, advance: Advance) -> ResultTable:
        nash_policy = solve_nash(preference, reference, self.tau).policy
        threshold = min_stable_eta(rotation(preference, nash_policy), self.tau)
        rows: list[tuple[Cell, ...]] = []
        for ratio in self.ratios:
            eta = ratio * self.tau
            trajectory = mirror_descent(
                preference,
                reference,
                eta=constant_eta(eta),
                tau=self.tau,
                record=[self.patience],
                advance=advance,
            )
            converged = kl(nash_policy, trajectory.last[0]) < CONVERGED_KL
            agree = float((converged == (eta > threshold)).mean())
            rows.append(
                (f"{ratio:g}", float(converged.mean()), float((eta > threshold).mean()), agree)
            )
        return ResultTable(
            f"Constant η: does π_T settle at the Nash policy within {self.patience} iterations?",
            ("η/τ", "settled", "predicted", "agree"),
            tuple(rows),
            (LOCAL_NOTE,),
        )


def theorem_3(reference: Floats, tau: float, horizon: int) -> tuple[float, float]:
    """Return theorem 3's η for T iterations, and its bound on the mixture's duality gap.

    Lemma 2's proof gives Reg ≤ ηD + (4τ²B² + 1) T/η. In the tabular game B = 1/τ: equation 5 keeps
    log π_t/π_ref within an interval of length 1/τ, and that of every best response too. D, the
    largest KL to π_1 = π_ref, is then at most 1/τ, and at most −log π_ref of the rarest action.
    """
    log_ratio_bound = 1 / tau
    gradient_bound = max(log_ratio_bound * tau, 1.0)
    diameter = min(log_ratio_bound, float(-np.log(reference.min())))
    eta = gradient_bound * np.sqrt(horizon / diameter)
    regret = eta * diameter + (4 * (tau * log_ratio_bound) ** 2 + 1) * horizon / eta
    return float(eta), float(2 * regret / horizon)


def theorem_4(tau: float, horizon: int) -> float:
    """Return 32 C²/(τ²(T + 1)), with C = max(Bτ, 1) = 1 in the tabular game."""
    return 32 / (tau**2 * (horizon + 1))


def _subplot(table: ResultTable, y_label: str) -> Subplot:
    """Return a table's columns as curves against its first column."""
    x = [float(row[0]) for row in table.rows if isinstance(row[0], int)]
    curves = [
        Curve(name, x, [value for row in table.rows if isinstance(value := row[k], float)])
        for k, name in enumerate(table.headings)
        if name in ("mean", "largest", "bound")
    ]
    return Subplot(table.title, "T", y_label, tuple(curves))
