"""Results of an experiment: tables, and curves drawn as SVG and PDF files.

The same curves give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MissingDependencyError
from harness.statistics.bootstrap import interval
from harness.statistics.resampling import Floats
from harness.types import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Cell = str | int | float | Estimate


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A table; the first column names the row."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """Return the table as plain data."""
        rows = [dict(zip(self.headings, map(_cell_data, row), strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "notes": list(self.notes)}

    def formatted_rows(self) -> tuple[tuple[str, ...], ...]:
        """Return the cells as they are printed."""
        return tuple(tuple(format_cell(cell) for cell in row) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Curve:
    """A labelled curve."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    """Draw dashed, as bounds and predictions are."""


@dataclass(frozen=True, slots=True)
class Subplot:
    """One pair of axes, or, for paths of three actions, a triangle."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log: tuple[bool, bool] = (True, True)
    """Whether the x-axis and the y-axis are logarithmic."""
    corners: tuple[str, ...] = ()
    """Names of the three actions where the subplot is a triangle."""


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """The tables and figures of an experiment."""

    tables: tuple[ResultTable, ...]
    figures: Mapping[str, tuple[Subplot, ...]] = field(default_factory=dict)
    """Subplots side by side, by name of the figure."""


def mean_over_games(values: Floats, seed: int = 0) -> Estimate:
    """Return the mean over games with its 95 % bootstrap interval; one game has no interval."""
    return interval(values.tolist(), seed=seed)


def log_spaced_iterations(last: int) -> list[int]:
    """Return 1, 2, 3, 5, 10, 20, 30, 50, ... up to and including `last`."""
    steps = {m * 10**e for e in range(len(str(last))) for m in (1, 2, 3, 5)}
    return sorted({t for t in steps if t < last} | {last})


def format_cell(cell: Cell) -> str:
    """Return a number with three digits, and its interval if it has one."""
    match cell:
        case Estimate(value=value, low=float() as low, high=float() as high):
            return f"{_format_number(value)} [{_format_number(low)}, {_format_number(high)}]"
        case Estimate(value=value):
            return _format_number(value)
        case float():
            return _format_number(cell)
    return str(cell)


def _format_number(value: float) -> str:
    small = value != 0 and abs(value) < 1e-3
    return f"{value:.1e}" if small else f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def _cell_data(cell: Cell) -> Any:
    if not isinstance(cell, Estimate):
        return cell
    return {"value": cell.value, "low": cell.low, "high": cell.high}


FORMATS = ("svg", "pdf")
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's palette, which colour-blind readers can distinguish."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "preference-harness",
    "pdf.fonttype": 42,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 7,
}


def write_figures(report: ExperimentResult, directory: Path) -> list[Path]:
    """Draw a result's figures into a directory; return the files.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib: pip install 'preference-harness[report]'"
        ) from error
    directory.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        return [
            p for name, subplots in report.figures.items() for p in _save(name, subplots, directory)
        ]


def _save(name: str, subplots: Sequence[Subplot], directory: Path) -> list[Path]:
    from matplotlib.figure import Figure

    columns, width = min(len(subplots), 4), 3.0 if subplots[0].corners else 5.4
    rows = -(-len(subplots) // columns)
    figure = Figure(figsize=(width * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, subplot in zip(axes, subplots, strict=False):
        (_triangle if subplot.corners else _curves)(axis, subplot)
    for axis in axes[len(subplots) :]:
        axis.set_axis_off()
    paths = [directory / f"{name}.{extension}" for extension in FORMATS]
    for path in paths:
        metadata: dict[str, Any] = {"Date" if path.suffix == ".svg" else "CreationDate": None}
        figure.savefig(path, metadata=metadata)
    return paths


def _curves(axes: Axes, subplot: Subplot) -> None:
    groups = list(dict.fromkeys(line.label.partition(",")[0] for line in subplot.curves))
    for line in subplot.curves:
        color = COLORS[groups.index(line.label.partition(",")[0]) % len(COLORS)]
        axes.plot(line.x, line.y, "--" if line.dashed else "-", color=color, label=line.label)
    for log, scale in zip(subplot.log, (axes.set_xscale, axes.set_yscale), strict=True):
        if log:
            scale("log")
    ticks = sorted({x for line in subplot.curves for x in line.x})
    if len(ticks) < 8:
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks], minor=False)
        axes.set_xticks([], minor=True)
    axes.set(title=subplot.title, xlabel=subplot.x_label, ylabel=subplot.y_label)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _triangle(axes: Axes, subplot: Subplot) -> None:
    height = 3**0.5 / 2
    corners = ((0.0, 0.0), (1.0, 0.0), (0.5, height))
    axes.fill([x for x, _ in corners], [y for _, y in corners], fill=False, color="#999999")
    for name, (x, y) in zip(subplot.corners, corners, strict=True):
        axes.annotate(name, (x, y), ha="center", va="top" if y == 0 else "bottom")
    path, *points = subplot.curves
    axes.plot(path.x, path.y, "-", color=COLORS[0], linewidth=0.8)
    axes.plot(path.x[0], path.y[0], "o", color=COLORS[0], markersize=4, label="start")
    for point, color in zip(points, COLORS[1:], strict=False):
        axes.plot(point.x, point.y, "*", color=color, markersize=8, label=point.label)
    axes.set(title=subplot.title, aspect="equal")
    axes.set_axis_off()
    axes.legend()
