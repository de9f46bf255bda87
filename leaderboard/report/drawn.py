"""The report's figures for print, by matplotlib: PDF and SVG, the same bytes every time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import MissingDependencyError
from leaderboard.render import plain
from leaderboard.report import axes as on

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Data = Mapping[str, Any]
WIDTH = 6.0
LINE, CURVE = 0.28, 3.2
"""Inches: of a line in a figure with a line a method; of a figure with curves."""
MOST_PARTS = 12
SETTINGS: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.4,
    "pdf.fonttype": 42,
    "svg.hashsalt": "preference-harness",
    "text.parse_math": False,
}
"""Names may hold dollar signs: no text is read as mathematics."""
KINDS = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def drawn(figures: Data) -> Iterator[tuple[str, bytes]]:
    """Yield every figure as (file name, content), twice each.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib: install it with `pip install 'preference-harness[report]'`"
        ) from error
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        # a name in a script that the font lacks is drawn as boxes; the page has it in full
        warnings.filterwarnings("ignore", message="Glyph")
        for at, group in enumerate(figures["groups"]):
            for name, figure in _figures(group):
                yield from _files(f"{at + 1:02}-{name}", figure)
        for name, figure in _training(figures["training"]):
            yield from _files(f"training-{name}", figure)
        for name, figure in _bridges(figures["bridges"]):
            yield from _files(f"bridge-{name}", figure)


def _files(name: str, figure: Figure) -> Iterator[tuple[str, bytes]]:
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    for kind, metadata in KINDS.items():
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata=metadata, bbox_inches="tight")
        yield f"{stem}.{kind}", out.getvalue()


def _figures(group: Data) -> Iterator[tuple[str, Figure]]:
    title, rows = group["title"], [row for row in group["rows"] if row["length"] is not None]
    if rows and any(metric["name"] == group["raw"] for metric in group["metrics"]):
        yield "length", _figure(title, 4.0, partial(on.length, group=group, rows=rows))
    for found in group["compared"]:
        name, high = found["metric"], LINE * len(found["at"]) + 0.8
        told = {"group": group, "found": found}
        yield f"differences-{name}", _figure(title, high, partial(on.forest, **told))
        yield f"matrix-{name}", _figure(title, high, partial(on.matrix, **told))
    for found in group["breakdowns"]:
        if (count := len(found["parts"])) <= MOST_PARTS:
            high = count * (0.1 * len(group["rows"]) + 0.2) + 0.8
            draw = partial(on.parts, group=group, found=found)
            yield f"by-{found['by']}", _figure(title, high, draw)
    for name, key, of_rows in (("wins", "decided", on.wins), ("order", "order", on.order)):
        if known := [row for row in group["rows"] if row[key]]:
            high = LINE * len(known) + 0.8
            yield name, _figure(title, high, partial(of_rows, rows=known))
    yield from _costs(group)
    yield from _iterations(group)


def _costs(group: Data) -> Iterator[tuple[str, Figure]]:
    metric = group["controlled"] or group["raw"]
    for key in on.COSTS:
        told = [row for row in group["rows"] if row[key] is not None and metric in row["figures"]]
        if told:
            draw = partial(on.cost, group=group, rows=told, key=key)
            yield f"cost-{key}", _figure(group["title"], CURVE, draw)


def _iterations(group: Data) -> Iterator[tuple[str, Figure]]:
    if not group["curves"]:
        return
    for metric in group["metrics"]:
        figures = [row["figures"].get(metric["name"]) for row in group["rows"]]
        draw = partial(on.curves, called=metric["heading"], series=_series(group, figures))
        yield f"iterations-{metric['name']}", _figure(group["title"], CURVE, draw)
    lengths = [{"value": row["length"], "low": None, "high": None} for row in group["rows"]]
    draw = partial(on.curves, called="mean length, characters", series=_series(group, lengths))
    yield "iterations-length", _figure(group["title"], CURVE, draw)


def _series(group: Data, figures: Sequence[Data | None]) -> list[on.Series]:
    """Return each run's figures by iteration; `figures` has one a row of the group."""
    told = [
        (one["label"], [(i, figures[at]) for i, at in one["points"]]) for one in group["curves"]
    ]
    return [(label, _known(points)) for label, points in told]


def _known(points: Sequence[tuple[int, Data | None]]) -> list[on.Point]:
    return [(i, one) for i, one in points if one is not None and one["value"] is not None]


def _training(curves: Sequence[Data]) -> Iterator[tuple[str, Figure]]:
    for curve in curves:
        series: list[on.Series] = [(one["label"], _known(one["points"])) for one in curve["series"]]
        if any(points for _, points in series):
            draw = partial(on.curves, called=curve["heading"], series=series)
            yield curve["name"], _figure("training", CURVE, draw)


def _bridges(bridges: Sequence[Data]) -> Iterator[tuple[str, Figure]]:
    for at, bridge in enumerate(bridges):
        title = f"{bridge['benchmark']}, {bridge['old']} and {bridge['new']}"
        high = LINE * 1.4 * len(bridge["rows"]) + 0.8
        for metric in bridge["metrics"]:
            draw = partial(on.between, bridge=bridge, metric=metric)
            yield f"{at + 1:02}-{metric['name']}", _figure(title, high, draw)


def _figure(title: str, high: float, draw: Callable[[Axes], None]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, high))
    axes = figure.add_subplot()
    axes.set_title(plain(title), loc="left", fontsize=9)
    draw(axes)
    return figure
