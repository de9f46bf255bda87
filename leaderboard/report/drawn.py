"""The report's figures for print, by matplotlib: PDF and SVG, the same bytes every time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import MissingDependencyError
from leaderboard.render import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Data = Mapping[str, Any]
Look = dict[str, Any]
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart."""
WON, DRAWN, LOST = "#0072B2", "#BBBBBB", "#E69F00"
MARKS = "osD^vP"
WIDTH = 6.0
LINE = 0.28
"""Inches a line of a figure with a line a method."""
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
                for kind, metadata in KINDS.items():
                    out = io.BytesIO()
                    figure.savefig(out, format=kind, metadata=metadata, bbox_inches="tight")
                    yield f"{at + 1:02}-{name}.{kind}", out.getvalue()


def _figures(group: Data) -> Iterator[tuple[str, Figure]]:
    rows = [row for row in group["rows"] if row["length"] is not None]
    if rows and any(metric["name"] == group["raw"] for metric in group["metrics"]):
        yield "length", _figure(group, 4.0, partial(_length, group=group, rows=rows))
    for found in group["compared"]:
        name = f"differences-{found['metric'].replace('_', '-')}"
        draw = partial(_forest, group=group, found=found)
        yield name, _figure(group, LINE * len(found["at"]) + 0.8, draw)
    for found in group["breakdowns"]:
        if (count := len(found["parts"])) <= MOST_PARTS:
            high = count * (0.1 * len(group["rows"]) + 0.2) + 0.8
            draw = partial(_parts, group=group, found=found)
            yield f"by-{found['by']}", _figure(group, high, draw)
    for name, key, of_rows in (("wins", "decided", _wins), ("order", "order", _order)):
        if told := [row for row in group["rows"] if row[key]]:
            high = LINE * len(told) + 0.8
            yield name, _figure(group, high, partial(of_rows, rows=told))
    if group["curves"]:
        yield "iterations", _figure(group, 3.2, partial(_iterations, group=group))


def _figure(group: Data, high: float, draw: Callable[[Axes], None]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, high))
    axes = figure.add_subplot()
    axes.set_title(plain(group["title"]), loc="left", fontsize=9)
    draw(axes)
    return figure


def _length(axes: Axes, group: Data, rows: Sequence[Data]) -> None:
    from matplotlib.patches import Ellipse

    raw, best = group["raw"], group["controlled"] or group["raw"]
    for row in rows:
        at = group["rows"].index(row)
        was, now = row["figures"].get(raw), row["figures"].get(best) or row["figures"].get(raw)
        if was is None:
            continue
        if now is not was:
            ends: Look = {
                "xy": (row["length"], now["value"]),
                "xytext": (row["length"], was["value"]),
            }
            axes.annotate("", **ends, arrowprops={"arrowstyle": "->", "color": _hue(at)})
            axes.plot(row["length"], was["value"], _mark(at), mfc="white", color=_hue(at), ms=5)
        if now["low"] is not None and row["length_error"]:
            centre = (row["length"], (now["low"] + now["high"]) / 2)
            size = (2 * 1.96 * row["length_error"], now["high"] - now["low"])
            axes.add_patch(Ellipse(centre, *size, color=_hue(at), alpha=0.15))
        axes.plot(row["length"], now["value"], _mark(at), color=_hue(at), label=_name(row))
        if row["control"]:
            axes.axhline(now["value"], color="grey", linestyle="--", linewidth=0.8)
    axes.set_xlabel("mean length, characters")
    axes.set_ylabel(_heading(group, best))
    axes.legend(fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)


def _forest(axes: Axes, group: Data, found: Data) -> None:
    rows = [group["rows"][at] for at in found["at"]]
    for place in range(1, len(rows)):
        value, reach = found["value"][place][0], found["reach"][place][0]
        if value is not None:
            at = found["at"][place]
            axes.errorbar(value, place, xerr=reach or 0.0, fmt=_mark(at), color=_hue(at))
    axes.axvline(0, color="grey", linestyle="--", linewidth=0.8)
    axes.set_xlabel(f"{_heading(group, found['metric'])}, less {_name(rows[0])}")
    _lines(axes, [(place, _name(rows[place])) for place in range(1, len(rows))])


def _parts(axes: Axes, group: Data, found: Data) -> None:
    count = len(group["rows"])
    for at, (row, cells) in enumerate(zip(group["rows"], found["cells"], strict=True)):
        for part, cell in enumerate(cells):
            if cell is not None:
                place = part + 0.7 * ((at + 0.5) / count - 0.5)
                reach: Look = {} if cell["low"] is None else {"xerr": _reaches([cell])}
                name = _name(row) if part == 0 else None
                look: Look = {"fmt": _mark(at), "color": _hue(at), "ms": 3.5}
                axes.errorbar(cell["value"], place, label=name, **look, **reach)
    axes.set_xlabel(_heading(group, found["metric"]))
    names = [f"{plain(part['name'])} ({part['n']})" for part in found["parts"]]
    _lines(axes, list(enumerate(names)))
    axes.legend(fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)


def _wins(axes: Axes, rows: Sequence[Data]) -> None:
    for place, row in enumerate(rows):
        whole, begun = sum(row["decided"]) or 1, 0.0
        for name, count, colour in zip(
            ("win", "tie", "loss"), row["decided"], (WON, DRAWN, LOST), strict=True
        ):
            share = 100 * count / whole
            axes.barh(place, share, left=begun, color=colour, label=None if place else name)
            begun += share
    axes.set_xlabel("share of games, %")
    _lines(axes, [(place, _name(row)) for place, row in enumerate(rows)])
    axes.legend(fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)


def _order(axes: Axes, rows: Sequence[Data]) -> None:
    told = {"first": "won by the first answer", "consistent": "same winner under swap"}
    for at, (name, label) in enumerate(told.items()):
        places = [place for place, row in enumerate(rows) if row["order"][name]]
        found = [rows[place]["order"][name] for place in places]
        if found:
            values = [one["value"] for one in found]
            look: Look = {"fmt": _mark(at), "color": _hue(at), "label": label}
            axes.errorbar(values, places, xerr=_reaches(found), **look)
    axes.axvline(50, color="grey", linestyle="--", linewidth=0.8)
    axes.set_xlim(0, 102)
    axes.set_xlabel("%")
    _lines(axes, [(place, _name(row)) for place, row in enumerate(rows)])
    axes.legend(fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)


def _iterations(axes: Axes, group: Data) -> None:
    from matplotlib.ticker import MaxNLocator

    metric = group["controlled"] or group["raw"]
    for at, curve in enumerate(group["curves"]):
        told = [(i, group["rows"][place]["figures"].get(metric)) for i, place in curve["points"]]
        known = [(i, figure["value"]) for i, figure in told if figure]
        axes.plot(
            *zip(*known, strict=True), f"-{_mark(at)}", color=_hue(at), label=plain(curve["method"])
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel(_heading(group, metric))
    axes.legend(fontsize=7, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)


def _lines(axes: Axes, names: Sequence[tuple[int, str]]) -> None:
    """Name the lines of a figure, the first on top."""
    axes.set_yticks([place for place, _ in names], [name for _, name in names])
    axes.invert_yaxis()


def _reaches(found: Sequence[Data]) -> list[list[float]]:
    """Return how far intervals reach below and above their figures; rounding may go beyond."""
    below = [max(0.0, one["value"] - one["low"]) for one in found]
    return [below, [max(0.0, one["high"] - one["value"]) for one in found]]


def _heading(group: Data, name: str) -> str:
    return next((m["heading"] for m in group["metrics"] if m["name"] == name), name)


def _name(row: Data) -> str:
    return plain(str(row["label"])).lstrip("_")[:60]


def _hue(at: int) -> str:
    return HUES[at % len(HUES)]


def _mark(at: int) -> str:
    return MARKS[at % len(MARKS)]
