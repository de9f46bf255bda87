"""Rows become tables: one for each benchmark and judge, so that no column mixes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.types import Estimate
from leaderboard.rows import Row

METRICS = {
    "win_rate": "win rate %",
    "length_controlled_win_rate": "length-controlled %",
}
"""What a metric's column is headed with, in the order of the columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """Text cells under headings; the first column is text, the others are figures."""

    title: str
    headings: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Return a table a benchmark and judge, rows ordered by win rate, highest first."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.benchmark, row.judge), []).append(row)
    return [_table(benchmark, judge, group) for (benchmark, judge), group in groups.items()]


def _table(benchmark: str, judge: str, rows: Sequence[Row]) -> Table:
    metrics = [m for m in METRICS if any(m in row.estimates for row in rows)]
    ordered = sorted(rows, key=lambda row: (-_value(row, metrics[0]), row.label))
    cells = [
        (
            row.label,
            *(interval(row.estimates.get(m)) for m in metrics),
            "–" if row.mean_length is None else f"{row.mean_length:.1f}",
            f"{row.judged} of {row.asked}",
        )
        for row in ordered
    ]
    headings = ("method", *(METRICS[m] for m in metrics), "mean length", "n judged")
    notes = ("in brackets: 95 % bootstrap intervals over prompts; mean length in characters",)
    return Table(f"{benchmark}, judged by {judge}", headings, tuple(cells), notes)


def interval(estimate: Estimate | None) -> str:
    """Return a figure with its interval, or a dash."""
    if estimate is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1f}"
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def _value(row: Row, metric: str) -> float:
    return row.estimates[metric].value if metric in row.estimates else float("-inf")
