"""Curves as SVG and PDF files: the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MissingDependencyError
from harness.theory.report import Panel, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "pdf")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's, which colour-blind readers can tell apart."""
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


def write(report: Report, folder: Path) -> list[Path]:
    """Draw a report's figures into a folder; return the files.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib: pip install 'preference-harness[report]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        return [p for name, panels in report.figures.items() for p in _save(name, panels, folder)]


def _save(name: str, panels: Sequence[Panel], folder: Path) -> list[Path]:
    from matplotlib.figure import Figure

    columns, width = min(len(panels), 4), 3.0 if panels[0].corners else 5.4
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(width * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, panel in zip(axes, panels, strict=False):
        (_triangle if panel.corners else _curves)(place, panel)
    for place in axes[len(panels) :]:
        place.set_axis_off()
    paths = [folder / f"{name}.{form}" for form in FORMATS]
    for path in paths:
        undated: dict[str, Any] = {"Date" if path.suffix == ".svg" else "CreationDate": None}
        figure.savefig(path, metadata=undated)
    return paths


def _curves(axes: Axes, panel: Panel) -> None:
    owners = list(dict.fromkeys(line.label.partition(",")[0] for line in panel.lines))
    for line in panel.lines:
        colour = COLOURS[owners.index(line.label.partition(",")[0]) % len(COLOURS)]
        axes.plot(line.x, line.y, "--" if line.dashed else "-", color=colour, label=line.label)
    for log, scale in zip(panel.log, (axes.set_xscale, axes.set_yscale), strict=True):
        if log:
            scale("log")
    places = sorted({x for line in panel.lines for x in line.x})
    if len(places) < 8:
        axes.set_xticks(places, [f"{x:g}" for x in places], minor=False)
        axes.set_xticks([], minor=True)
    axes.set(title=panel.title, xlabel=panel.across, ylabel=panel.up)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _triangle(axes: Axes, panel: Panel) -> None:
    height = 3**0.5 / 2
    corners = ((0.0, 0.0), (1.0, 0.0), (0.5, height))
    axes.fill([x for x, _ in corners], [y for _, y in corners], fill=False, color="#999999")
    for name, (x, y) in zip(panel.corners, corners, strict=True):
        axes.annotate(name, (x, y), ha="center", va="top" if y == 0 else "bottom")
    path, *points = panel.lines
    axes.plot(path.x, path.y, "-", color=COLOURS[0], linewidth=0.8)
    axes.plot(path.x[0], path.y[0], "o", color=COLOURS[0], markersize=4, label="start")
    for place, colour in zip(points, COLOURS[1:], strict=False):
        axes.plot(place.x, place.y, "*", color=colour, markersize=8, label=place.label)
    axes.set(title=panel.title, aspect="equal")
    axes.set_axis_off()
    axes.legend()
