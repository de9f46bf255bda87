"""From where a constant η leads to the Nash policy: the condition for η is a local one.

η > (τ² + ρ²)/(2τ) (see `mirror`) says what becomes of a small displacement from the Nash policy.
From the reference, which may be far away, a run can end in a limit cycle beside a stable Nash
policy; the smaller τ is, the more games have one.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.protocols import GameSource
from harness.statistics.resampling import Floats
from harness.theory.mirror import constant_eta, min_stable_eta, mirror_descent, rotation
from harness.theory.nash import kl, solve_nash
from harness.theory.results import Cell, Curve, ExperimentResult, ResultTable, Subplot
from harness.types import Advance, Track

CONVERGED_KL = 1e-8
"""KL to the Nash policy, in nats, below which a run counts as converged."""
NEARBY = 1e-3
"""The share of the reference in a start close to the Nash policy."""
SHOWN = 200
"""Iterations of the example that are drawn at its beginning, and at its end."""
DISTANCE_FLOOR = 1e-12
"""The smallest distance that is drawn, in nats."""
LOCAL_NOTE = (
    "predicted: η > (τ² + ρ²)/(2τ), ρ the rotation at the Nash policy. This is a local condition: "
    "it decides for starts near the Nash policy; from the reference a run may end in a limit cycle "
    "beside a stable Nash policy (`harness theory run stability`)"
)


class Stability(Component):
    """INPO's exact update with constant η, from the reference and from near the Nash policy."""

    game: GameSource
    taus: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    ratios: list[Annotated[float, Field(ge=1)]] = Field(min_length=1)
    """The constant η/τ to try."""
    patience: int = Field(gt=1)
    """Number of iterations within which a run has to converge."""
    example: GameSource
    """A game with a limit cycle, of which the first is drawn."""
    example_tau: float = Field(gt=0)
    example_ratio: float = Field(ge=1)
    seed: int = 0

    def run(self, track: Track) -> ExperimentResult:
        """Try every τ with every ratio, and draw a limit cycle."""
        preference, reference = self.game.draw(self.seed).rows()
        total = 2 * len(self.taus) * len(self.ratios) * len(reference)
        with track("stability", total) as advance:
            rows = [
                row for tau in self.taus for row in self._rows(preference, reference, tau, advance)
            ]
        table = ResultTable(
            f"Constant η, {len(reference)} games, {self.patience} iterations",
            ("τ", "η/τ", "settled", "from nearby", "predicted", "agree"),
            tuple(rows),
            (
                LOCAL_NOTE,
                "agree: shares of games in which settled, from the reference, is predicted",
            ),
        )
        return ExperimentResult((table,), {"limit-cycle": self._cycle()})

    def _rows(
        self, preference: Floats, reference: Floats, tau: float, advance: Advance
    ) -> list[tuple[Cell, ...]]:
        nash_policy = solve_nash(preference, reference, tau).policy
        threshold = min_stable_eta(rotation(preference, nash_policy), tau)
        nearby = (1 - NEARBY) * nash_policy + NEARBY * reference
        rows: list[tuple[Cell, ...]] = []
        for ratio in self.ratios:
            settled, from_nearby = (
                kl(nash_policy, self._end(preference, reference, start, tau, ratio, advance))
                < CONVERGED_KL
                for start in (reference, nearby)
            )
            predicted = ratio * tau > threshold
            shares = (settled, from_nearby, predicted, settled == predicted)
            rows.append((f"{tau:g}", f"{ratio:g}", *(float(share.mean()) for share in shares)))
        return rows

    def _end(
        self,
        preference: Floats,
        reference: Floats,
        start: Floats,
        tau: float,
        ratio: float,
        advance: Advance,
    ) -> Floats:
        trajectory = mirror_descent(
            preference,
            reference,
            eta=constant_eta(ratio * tau),
            tau=tau,
            record=[self.patience],
            start=start,
            advance=advance,
        )
        last: Floats = trajectory.last[0]
        return last

    def _cycle(self) -> tuple[Subplot, ...]:
        """Return the example's cycle in two probabilities, and the way there and to Nash."""
        preference, reference = (rows[:1] for rows in self.example.draw(self.seed).rows())
        nash_policy = solve_nash(preference, reference, self.example_tau).policy
        first = list(range(1, SHOWN + 1))
        paths = {
            name: orbit(
                *(preference, reference, start),
                *(self.example_tau, self.example_ratio, [*first, *self._last_iterations()]),
            )
            for name, start in {
                "from the reference": reference,
                "from nearby": (1 - NEARBY) * nash_policy + NEARBY * reference,
            }.items()
        }
        last = {name: path[SHOWN:] for name, path in paths.items()}
        distances = {name: kl(nash_policy, path[:SHOWN]) for name, path in paths.items()}
        return (
            Subplot(
                f"The end: τ = {self.example_tau:g}, η = {self.example_ratio:g} τ",
                "π(1)",
                "π(2)",
                tuple(
                    Curve(n, path[:, 0].tolist(), path[:, 1].tolist()) for n, path in last.items()
                ),
                (False, False),
            ),
            Subplot(
                "The beginning: distance to the Nash policy",
                "iteration",
                "KL, nats",
                tuple(
                    Curve(name, first, np.maximum(path, DISTANCE_FLOOR).tolist())
                    for name, path in distances.items()
                ),
                (False, True),
            ),
        )

    def _last_iterations(self) -> list[int]:
        return list(range(SHOWN + self.patience + 1, 2 * SHOWN + self.patience + 1))


def orbit(
    preference: Floats,
    reference: Floats,
    start: Floats,
    tau: float,
    ratio: float,
    record: list[int],
) -> Floats:
    """Return some iterates of one game, shape (records, actions).

    Args:
        preference: P(i ≻ j), shape (1, actions, actions).
        reference: π_ref, shape (1, actions).
        start: π_1, shape (1, actions).
        tau: τ.
        ratio: the constant η/τ.
        record: the T of the iterates, ascending, from 1.
    """
    trajectory = mirror_descent(
        *(preference, reference),
        eta=constant_eta(ratio * tau),
        tau=tau,
        record=record,
        start=start,
    )
    path: Floats = trajectory.last[:, 0]
    return path
