"""What an experiment finds: tables of figures, and curves to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from harness.statistics.bootstrap import interval
from harness.statistics.resampling import Floats
from harness.types import Estimate, Track

Cell = str | int | float | Estimate


@dataclass(frozen=True, slots=True)
class Findings:
    """A table: the first column names, the others are figures."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return the table as plain data."""
        rows = [dict(zip(self.headings, map(_plain, row), strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}

    def texts(self) -> tuple[tuple[str, ...], ...]:
        """Return the cells as they are printed."""
        return tuple(tuple(text(cell) for cell in row) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    """Drawn dashed, as bounds and predictions are."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes, or, for paths of three actions, a triangle."""

    title: str
    across: str
    """What the x-axis shows."""
    up: str
    """What the y-axis shows."""
    lines: tuple[Line, ...]
    log: tuple[bool, bool] = (True, True)
    """Whether the x-axis and the y-axis are logarithmic."""
    corners: tuple[str, ...] = ()
    """Names of the three actions, where the panel is a triangle."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that an experiment finds."""

    tables: tuple[Findings, ...]
    figures: Mapping[str, tuple[Panel, ...]] = field(default_factory=dict)
    """Panels side by side, by the figure's name."""


@runtime_checkable
class Experiment(Protocol):
    """A file of configs/theory."""

    def run(self, track: Track) -> Report:
        """Return what is found."""


def over_games(figures: Floats, seed: int = 0) -> Estimate:
    """Return the mean over games with its 95 % bootstrap interval; one game has none."""
    return interval(figures.tolist(), seed=seed)


def horizons(most: int) -> list[int]:
    """Return 1, 2, 3, 5, 10, 20, 30, 50, ... up to and with `most`."""
    found = {m * 10**e for e in range(len(str(most))) for m in (1, 2, 3, 5)}
    return sorted({t for t in found if t < most} | {most})


def text(cell: Cell) -> str:
    """Return a figure with three digits, and its interval if it has one."""
    match cell:
        case Estimate(value=value, low=float() as low, high=float() as high):
            return f"{_short(value)} [{_short(low)}, {_short(high)}]"
        case Estimate(value=value):
            return _short(value)
        case float():
            return _short(cell)
    return str(cell)


def _short(value: float) -> str:
    small = value != 0 and abs(value) < 1e-3
    return f"{value:.1e}" if small else f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def _plain(cell: Cell) -> Any:
    if not isinstance(cell, Estimate):
        return cell
    return {"value": cell.value, "low": cell.low, "high": cell.high}
