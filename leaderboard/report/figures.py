"""The report's figures for print, by matplotlib: PDF and SVG, the same bytes every time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.core.terminal import printable
from harness.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.0
LINE_HEIGHT, CURVE_HEIGHT = 0.28, 3.2
"""Inches: of a line in a figure with a line a method; of a figure with curves."""
MAX_PARTS = 12
RC_SETTINGS: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.4,
    "pdf.fonttype": 42,
    "svg.hashsalt": "preference-harness",
    "text.parse_math": False,
}
"""Labels may hold dollar signs: no text is parsed as mathematics."""
FORMATS = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, safe for the colour-blind."""
WIN_COLOR, TIE_COLOR, LOSS_COLOR = "#0072B2", "#BBBBBB", "#E69F00"
MARKERS = "osD^vP"
SIGNIFICANCE_LEVEL = 0.05
NORMAL_QUANTILE = 1.96
"""Standard errors in half of a 95 % interval."""
COST_LABELS = {"dollars": "dollars for judging", "gpu_hours": "GPU hours"}

Data = Mapping[str, Any]
Style = dict[str, Any]
Point = tuple[int, Data]
"""An iteration and a figure."""
Series = tuple[str, Sequence[Point]]
LEGEND_STYLE: Style = {
    "fontsize": 7,
    "bbox_to_anchor": (1.01, 1),
    "loc": "upper left",
    "frameon": False,
}
"""Beside the figure, never on it."""


def draw_figures(figures: Data) -> Iterator[tuple[str, bytes]]:
    """Yield every figure as (file name, content), in each format.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib: install it with `pip install 'preference-harness[report]'`"
        ) from error
    with matplotlib.rc_context(RC_SETTINGS), warnings.catch_warnings():
        # a label in a script that the font lacks is drawn as boxes; the page shows it in full
        warnings.filterwarnings("ignore", message="Glyph")
        for index, group in enumerate(figures["groups"]):
            for name, figure in _figures(group):
                yield from _files(f"{index + 1:02}-{name}", figure)
        for name, figure in _training(figures["training"]):
            yield from _files(f"training-{name}", figure)
        for name, figure in _bridges(figures["bridges"]):
            yield from _files(f"bridge-{name}", figure)


def _files(name: str, figure: Figure) -> Iterator[tuple[str, bytes]]:
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    for file_format, metadata in FORMATS.items():
        out = io.BytesIO()
        figure.savefig(out, format=file_format, metadata=metadata, bbox_inches="tight")
        yield f"{stem}.{file_format}", out.getvalue()


def _figures(group: Data) -> Iterator[tuple[str, Figure]]:
    title, rows = group["title"], [row for row in group["rows"] if row["length"] is not None]
    if rows and any(metric["name"] == group["raw"] for metric in group["metrics"]):
        yield "length", _figure(title, 4.0, partial(draw_length, group=group, rows=rows))
    for comparison in group["compared"]:
        name, height = comparison["metric"], LINE_HEIGHT * len(comparison["indices"]) + 0.8
        arguments = {"group": group, "comparison": comparison}
        yield f"differences-{name}", _figure(title, height, partial(draw_differences, **arguments))
        yield f"matrix-{name}", _figure(title, height, partial(draw_matrix, **arguments))
    for comparison in group["breakdowns"]:
        if (count := len(comparison["parts"])) <= MAX_PARTS:
            height = count * (0.1 * len(group["rows"]) + 0.2) + 0.8
            draw = partial(draw_parts, group=group, breakdown=comparison)
            yield f"by-{comparison['by']}", _figure(title, height, draw)
    for name, key, draw_rows in (("wins", "outcomes", draw_wins), ("order", "order", draw_order)):
        if known_rows := [row for row in group["rows"] if row[key]]:
            height = LINE_HEIGHT * len(known_rows) + 0.8
            yield name, _figure(title, height, partial(draw_rows, rows=known_rows))
    yield from _costs(group)
    yield from _iterations(group)


def _costs(group: Data) -> Iterator[tuple[str, Figure]]:
    metric = group["controlled"] or group["raw"]
    for key in COST_LABELS:
        rows = [row for row in group["rows"] if row[key] is not None and metric in row["figures"]]
        if rows:
            draw = partial(draw_cost, group=group, rows=rows, key=key)
            yield f"cost-{key}", _figure(group["title"], CURVE_HEIGHT, draw)


def _iterations(group: Data) -> Iterator[tuple[str, Figure]]:
    if not group["curves"]:
        return
    for metric in group["metrics"]:
        figures = [row["figures"].get(metric["name"]) for row in group["rows"]]
        draw = partial(draw_curves, ylabel=metric["heading"], series=_series(group, figures))
        yield f"iterations-{metric['name']}", _figure(group["title"], CURVE_HEIGHT, draw)
    lengths = [{"value": row["length"], "low": None, "high": None} for row in group["rows"]]
    draw = partial(draw_curves, ylabel="mean length, characters", series=_series(group, lengths))
    yield "iterations-length", _figure(group["title"], CURVE_HEIGHT, draw)


def _series(group: Data, figures: Sequence[Data | None]) -> list[Series]:
    """Return each run's figures by iteration; `figures` are those of the group's rows."""
    figures_by_run = [
        (curve["label"], [(i, figures[index]) for i, index in curve["points"]])
        for curve in group["curves"]
    ]
    return [(label, _known_points(points)) for label, points in figures_by_run]


def _known_points(points: Sequence[tuple[int, Data | None]]) -> list[Point]:
    return [
        (i, figure) for i, figure in points if figure is not None and figure["value"] is not None
    ]


def _training(curves: Sequence[Data]) -> Iterator[tuple[str, Figure]]:
    for curve in curves:
        series: list[Series] = [
            (entry["label"], _known_points(entry["points"])) for entry in curve["series"]
        ]
        if any(points for _, points in series):
            draw = partial(draw_curves, ylabel=curve["heading"], series=series)
            yield curve["name"], _figure("training", CURVE_HEIGHT, draw)


def _bridges(bridges: Sequence[Data]) -> Iterator[tuple[str, Figure]]:
    for index, bridge in enumerate(bridges):
        title = f"{bridge['benchmark']}, {bridge['old']} and {bridge['new']}"
        height = LINE_HEIGHT * 1.4 * len(bridge["rows"]) + 0.8
        for metric in bridge["metrics"]:
            draw = partial(draw_bridge, bridge=bridge, metric=metric)
            yield f"{index + 1:02}-{metric['name']}", _figure(title, height, draw)


def _figure(title: str, height: float, draw: Callable[[Axes], None]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    axes = figure.add_subplot()
    axes.set_title(printable(title), loc="left", fontsize=9)
    draw(axes)
    return figure


def draw_length(axes: Axes, group: Data, rows: Sequence[Data]) -> None:
    """Draw figures against mean lengths, with an arrow from raw to controlled."""
    from matplotlib.patches import Ellipse

    raw, best = group["raw"], group["controlled"] or group["raw"]
    for row in rows:
        index = group["rows"].index(row)
        raw_figure, shown_figure = (
            row["figures"].get(raw),
            row["figures"].get(best) or row["figures"].get(raw),
        )
        if raw_figure is None:
            continue
        if shown_figure is not raw_figure:
            ends: Style = {
                "xy": (row["length"], shown_figure["value"]),
                "xytext": (row["length"], raw_figure["value"]),
            }
            axes.annotate("", **ends, arrowprops={"arrowstyle": "->", "color": _color(index)})
            axes.plot(
                row["length"],
                raw_figure["value"],
                _marker(index),
                mfc="white",
                color=_color(index),
                ms=5,
            )
        if shown_figure["low"] is not None and row["length_error"]:
            center = (row["length"], (shown_figure["low"] + shown_figure["high"]) / 2)
            size = (
                2 * NORMAL_QUANTILE * row["length_error"],
                shown_figure["high"] - shown_figure["low"],
            )
            axes.add_patch(Ellipse(center, *size, color=_color(index), alpha=0.15))
        axes.plot(
            row["length"],
            shown_figure["value"],
            _marker(index),
            color=_color(index),
            label=_row_label(row),
        )
        if row["control"]:
            axes.axhline(shown_figure["value"], color="grey", linestyle="--", linewidth=0.8)
    axes.set_xlabel("mean length, characters")
    axes.set_ylabel(metric_heading(group, best))
    axes.legend(**LEGEND_STYLE)


def draw_differences(axes: Axes, group: Data, comparison: Data) -> None:
    """Draw paired differences from the first method."""
    rows = [group["rows"][index] for index in comparison["indices"]]
    for position in range(1, len(rows)):
        value, half_width = comparison["value"][position][0], comparison["half_width"][position][0]
        if value is not None:
            index = comparison["indices"][position]
            axes.errorbar(
                value, position, xerr=half_width or 0.0, fmt=_marker(index), color=_color(index)
            )
    axes.axvline(0, color="grey", linestyle="--", linewidth=0.8)
    axes.set_xlabel(f"{metric_heading(group, comparison['metric'])}, minus {_row_label(rows[0])}")
    _label_rows(axes, [(position, _row_label(rows[position])) for position in range(1, len(rows))])


def draw_parts(axes: Axes, group: Data, breakdown: Data) -> None:
    """Draw figures by part of a benchmark."""
    count = len(group["rows"])
    for index, (row, cells) in enumerate(zip(group["rows"], breakdown["cells"], strict=True)):
        for part_index, cell in enumerate(cells):
            if cell is not None:
                position = part_index + 0.7 * ((index + 0.5) / count - 0.5)
                whiskers: Style = {} if cell["low"] is None else {"xerr": _whiskers([cell])}
                name = _row_label(row) if part_index == 0 else None
                style: Style = {"fmt": _marker(index), "color": _color(index), "ms": 3.5}
                axes.errorbar(cell["value"], position, label=name, **style, **whiskers)
    axes.set_xlabel(metric_heading(group, breakdown["metric"]))
    names = [f"{printable(part['name'])} ({part['n']})" for part in breakdown["parts"]]
    _label_rows(axes, list(enumerate(names)))
    axes.legend(**LEGEND_STYLE)


def draw_wins(axes: Axes, rows: Sequence[Data]) -> None:
    """Draw wins, ties and losses as shares."""
    for position, row in enumerate(rows):
        total, start = sum(row["outcomes"]) or 1, 0.0
        for name, count, color in zip(
            ("win", "tie", "loss"), row["outcomes"], (WIN_COLOR, TIE_COLOR, LOSS_COLOR), strict=True
        ):
            share = 100 * count / total
            axes.barh(position, share, left=start, color=color, label=None if position else name)
            start += share
    axes.set_xlabel("share, %")
    _label_rows(axes, [(position, _row_label(row)) for position, row in enumerate(rows)])
    axes.legend(**LEGEND_STYLE)


def draw_order(axes: Axes, rows: Sequence[Data]) -> None:
    """Draw the share that first answers win, and the share of consistent swapped pairs."""
    labels = {"first": "won by the first answer", "consistent": "same winner under swap"}
    for index, (name, label) in enumerate(labels.items()):
        positions = [position for position, row in enumerate(rows) if row["order"][name]]
        figures = [rows[position]["order"][name] for position in positions]
        if figures:
            values = [figure["value"] for figure in figures]
            style: Style = {"fmt": _marker(index), "color": _color(index), "label": label}
            axes.errorbar(values, positions, xerr=_whiskers(figures), **style)
    axes.axvline(50, color="grey", linestyle="--", linewidth=0.8)
    axes.set_xlim(0, 102)
    axes.set_xlabel("%")
    _label_rows(axes, [(position, _row_label(row)) for position, row in enumerate(rows)])
    axes.legend(**LEGEND_STYLE)


def draw_matrix(axes: Axes, group: Data, comparison: Data) -> None:
    """Draw every pair's difference; a star where it differs significantly from zero."""
    names = [_row_label(group["rows"][index]) for index in comparison["indices"]]
    differences = [[value or 0.0 for value in row] for row in comparison["value"]]
    largest = max(abs(value) for row in differences for value in row) or 1.0
    axes.imshow(differences, cmap="PuOr", vmin=-1.5 * largest, vmax=1.5 * largest, aspect="auto")
    axes.grid(visible=False)
    digits = next((m["digits"] for m in group["metrics"] if m["name"] == comparison["metric"]), 1)
    for row, values in enumerate(comparison["value"]):
        for column, value in enumerate(values):
            if row != column and value is not None:
                star = "*" if comparison["p"][row][column] <= SIGNIFICANCE_LEVEL else ""
                text = f"{value:+.{digits}f}{star}"
                axes.text(column, row, text, ha="center", va="center", fontsize=6)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel(f"{metric_heading(group, comparison['metric'])}, row minus column")


def draw_curves(axes: Axes, ylabel: str, series: Sequence[Series]) -> None:
    """Draw a figure by iteration, a line for each method or run."""
    from matplotlib.ticker import MaxNLocator

    for index, (label, points) in enumerate(series):
        if points:
            iterations, figures = [i for i, _ in points], [figure for _, figure in points]
            style: Style = {
                "fmt": f"-{_marker(index)}",
                "color": _color(index),
                "label": _legend_label(label),
            }
            axes.errorbar(
                iterations, [f["value"] for f in figures], yerr=_padded_whiskers(figures), **style
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel(printable(ylabel))
    axes.legend(**LEGEND_STYLE)


def draw_cost(axes: Axes, group: Data, rows: Sequence[Data], key: str) -> None:
    """Draw a figure against its cost."""
    metric = group["controlled"] or group["raw"]
    for row in rows:
        index = group["rows"].index(row)
        axes.plot(
            row[key],
            row["figures"][metric]["value"],
            _marker(index),
            color=_color(index),
            label=_row_label(row),
        )
    axes.set_xlabel(COST_LABELS[key])
    axes.set_ylabel(metric_heading(group, metric))
    axes.legend(**LEGEND_STYLE)


def draw_bridge(axes: Axes, bridge: Data, metric: Data) -> None:
    """Draw every model's figure under two judges."""
    rows = bridge["rows"]
    for index, (side, offset) in enumerate((("old", -0.15), ("new", 0.15))):
        placed = [(i + offset, row["figures"][metric["name"]][side]) for i, row in enumerate(rows)]
        positions = [position for position, figure in placed if figure]
        figures = [figure for _, figure in placed if figure]
        style: Style = {
            "fmt": _marker(index),
            "color": _color(index),
            "label": _legend_label(bridge[side]),
        }
        axes.errorbar(
            [f["value"] for f in figures], positions, xerr=_padded_whiskers(figures), **style
        )
    axes.set_xlabel(metric["heading"])
    _label_rows(axes, [(position, _row_label(row)) for position, row in enumerate(rows)])
    axes.legend(**LEGEND_STYLE)


def _label_rows(axes: Axes, names: Sequence[tuple[int, str]]) -> None:
    """Label the lines of a figure, the first on top."""
    axes.set_yticks([position for position, _ in names], [name for _, name in names])
    axes.invert_yaxis()


def _whiskers(figures: Sequence[Data]) -> list[list[float]]:
    """Return the lengths of intervals below and above their figures, at least 0 under rounding."""
    below = [max(0.0, figure["value"] - figure["low"]) for figure in figures]
    return [below, [max(0.0, figure["high"] - figure["value"]) for figure in figures]]


def _padded_whiskers(figures: Sequence[Data]) -> list[list[float]]:
    """Return the lengths of intervals; zero where there is none."""
    return _whiskers(
        [
            f if f["low"] is not None else {**f, "low": f["value"], "high": f["value"]}
            for f in figures
        ]
    )


def metric_heading(group: Data, name: str) -> str:
    """Return the heading of a metric."""
    return next((m["heading"] for m in group["metrics"] if m["name"] == name), name)


def _row_label(row: Data) -> str:
    return _legend_label(str(row["label"]))


def _legend_label(label: str) -> str:
    """Return a label without leading underscores, which would hide it from a legend."""
    return printable(label).lstrip("_")[:60]


def _color(index: int) -> str:
    return COLORS[index % len(COLORS)]


def _marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]
