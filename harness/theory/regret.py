"""Theorems 3 and 4 against what happens: bounds, rates, and which constant η settle."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from harness.config import Component
from harness.statistics.resampling import Floats
from harness.theory.games import Game
from harness.theory.measures import duality_gap, kl
from harness.theory.mirror import constant, mirror_descent, shrinking
from harness.theory.nash import nash
from harness.theory.report import Cell, Findings, Line, Panel, Report
from harness.theory.stability import least_eta, rotation
from harness.types import Advance, Track

SETTLED = 1e-8
"""KL to the Nash policy, in nats, below which a run counts as settled."""


class Regret(Component):
    """INPO's exact update, equation 5, on random games."""

    game: Game
    tau: float = Field(gt=0)
    horizons: list[int] = Field(min_length=1)
    """The T that the theorems are checked at, rising."""
    ratios: list[Annotated[float, Field(ge=1)]]
    """The constant η/τ that are tried."""
    patience: int = Field(gt=1)
    """How many iterations a constant η has to settle in."""
    seed: int = 0

    def run(self, track: Track) -> Report:
        """Check both theorems, then every ratio."""
        preference, reference = self.game.draw(self.seed).rows()
        runs = len(self.horizons) + 1 + len(self.ratios)
        with track("regret", runs * len(reference)) as advance:
            average = self._theorem_3(preference, reference, advance)
            last = self._theorem_4(preference, reference, advance)
            steady = self._constant(preference, reference, advance)
        return Report(
            (average, last, steady), {"regret": (_drawn(average, "gap"), _drawn(last, "KL, nats"))}
        )

    def _theorem_3(self, preference: Floats, reference: Floats, advance: Advance) -> Findings:
        rows: list[tuple[Cell, ...]] = []
        for horizon in self.horizons:
            eta, bound = theorem_3(reference, self.tau, horizon)
            found = mirror_descent(
                preference,
                reference,
                eta=constant(eta),
                tau=self.tau,
                record=[horizon],
                advance=advance,
            )
            gap = duality_gap(preference, found.mixture[0], reference, self.tau)
            rows.append((horizon, eta, float(gap.mean()), float(gap.max()), bound))
        return Findings(
            f"Theorem 3: the mixture's duality gap, {len(reference)} games, τ = {self.tau:g}",
            ("T", "η", "mean", "largest", "bound"),
            tuple(rows),
            ("the regularised game's gap; bound: 2 Reg/T with η = max(Bτ, 1) √(T/D)",),
        )

    def _theorem_4(self, preference: Floats, reference: Floats, advance: Advance) -> Findings:
        solved = nash(preference, reference, self.tau).policy
        found = mirror_descent(
            preference,
            reference,
            eta=shrinking(self.tau),
            tau=self.tau,
            record=self.horizons,
            advance=advance,
        )
        apart = kl(solved, found.last)
        rows = [
            (t, float(row.mean()), float(row.max()), theorem_4(self.tau, t))
            for t, row in zip(self.horizons, apart, strict=True)
        ]
        return Findings(
            f"Theorem 4: KL(π*, π_T) with η_t = τ(t + 2)/2, {len(reference)} games",
            ("T", "mean", "largest", "bound"),
            tuple(rows),
        )

    def _constant(self, preference: Floats, reference: Floats, advance: Advance) -> Findings:
        solved = nash(preference, reference, self.tau).policy
        least = least_eta(rotation(preference, solved), self.tau)
        rows: list[tuple[Cell, ...]] = []
        for ratio in self.ratios:
            eta = ratio * self.tau
            found = mirror_descent(
                preference,
                reference,
                eta=constant(eta),
                tau=self.tau,
                record=[self.patience],
                advance=advance,
            )
            settled = kl(solved, found.last[0]) < SETTLED
            agree = float((settled == (eta > least)).mean())
            rows.append((f"{ratio:g}", float(settled.mean()), float((eta > least).mean()), agree))
        return Findings(
            f"Constant η: does π_T settle at the Nash policy within {self.patience} iterations?",
            ("η/τ", "settled", "predicted", "agree"),
            tuple(rows),
            ("predicted: η > (τ² + ρ²)/(2τ), ρ the rotation at the Nash policy; shares of games",),
        )


def theorem_3(reference: Floats, tau: float, horizon: int) -> tuple[float, float]:
    """Return theorem 3's η for T iterations, and its bound on the mixture's duality gap.

    Lemma 2's proof gives Reg ≤ ηD + (4τ²B² + 1) T/η. In the tabular game B = 1/τ: equation 5 keeps
    log π_t/π_ref within an interval of length 1/τ, as it does every best response. D, the largest
    KL to π_1 = π_ref, is then at most 1/τ, and at most −log of the reference's rarest action.
    """
    furthest = 1 / tau
    most = max(furthest * tau, 1.0)
    diameter = min(furthest, float(-np.log(reference.min())))
    eta = most * np.sqrt(horizon / diameter)
    regret = eta * diameter + (4 * (tau * furthest) ** 2 + 1) * horizon / eta
    return float(eta), float(2 * regret / horizon)


def theorem_4(tau: float, horizon: int) -> float:
    """Return 32 C²/(τ²(T + 1)), with C = max(Bτ, 1) = 1 in the tabular game."""
    return 32 / (tau**2 * (horizon + 1))


def _drawn(table: Findings, up: str) -> Panel:
    """Return a table's columns as curves against its first."""
    first = [float(row[0]) for row in table.rows if isinstance(row[0], int)]
    lines = [
        Line(name, first, [value for row in table.rows if isinstance(value := row[k], float)])
        for k, name in enumerate(table.headings)
        if name in ("mean", "largest", "bound")
    ]
    return Panel(table.title, "T", up, tuple(lines))
