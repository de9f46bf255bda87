"""What the pull towards the reference does: INPO's exact update from τ = 0 to τ = η."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.config import Component
from harness.theory.games import Game
from harness.theory.measures import duality_gap, kl
from harness.theory.mirror import constant, mirror_descent
from harness.theory.nash import nash
from harness.theory.report import Cell, Findings, Line, Panel, Report, horizons, over_games
from harness.types import Track


class Ablation(Component):
    """One η, several τ."""

    game: Game
    eta: float = Field(gt=0)
    taus: list[float] = Field(min_length=1)
    iterations: int = Field(gt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _weights_are_mixtures(self) -> Ablation:
        for tau in self.taus:
            if not 0 <= tau <= self.eta:
                raise ValueError(f"tau must lie between 0 and eta ({self.eta:g}): {tau:g}")
        return self

    def run(self, track: Track) -> Report:
        """Run every τ on the same games."""
        games = self.game.draw(self.seed)
        preference, reference = games.rows()
        record = horizons(self.iterations)
        rows: list[tuple[Cell, ...]] = []
        lines: list[Line] = []
        with track("ablation", len(self.taus) * len(reference)) as advance:
            for tau in self.taus:
                run = mirror_descent(
                    preference,
                    reference,
                    eta=constant(self.eta),
                    tau=tau,
                    record=record,
                    advance=advance,
                )
                gaps = duality_gap(preference, run.last, reference, 0.0)
                solved = nash(preference, reference, tau).policy
                figures = (
                    gaps[-1],
                    duality_gap(preference, run.mixture[-1], reference, 0.0),
                    duality_gap(preference, solved, reference, 0.0),
                    kl(run.last[-1], reference),
                )
                rows.append((f"{tau:g}", *(over_games(games.mean(f)) for f in figures)))
                lines.append(Line(f"τ = {tau:g}", record, gaps.mean(-1).tolist()))
        table = Findings(
            f"{self.game.name}: η = {self.eta:g}, {self.iterations} iterations",
            ("τ", "gap, last", "gap, mixture", "gap of its Nash", "KL(last, reference)"),
            tuple(rows),
            ("gap: of the original game; in brackets 95 % over games; τ = 0 is INPO without KL",),
        )
        panel = Panel("Duality gap of the last iterate", "iteration", "gap", tuple(lines))
        return Report((table,), {"ablation": (panel,)})
