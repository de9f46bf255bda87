"""How each of the report's figures is drawn for print, on axes of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from leaderboard.render import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Data = Mapping[str, Any]
Look = dict[str, Any]
Point = tuple[int, Data]
"""An iteration and a figure."""
Series = tuple[str, Sequence[Point]]
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart."""
WON, DRAWN, LOST = "#0072B2", "#BBBBBB", "#E69F00"
MARKS = "osD^vP"
SURE = 0.05
COSTS = {"dollars": "dollars of the judge", "gpu_hours": "GPU hours"}
BESIDE: Look = {
    "fontsize": 7,
    "bbox_to_anchor": (1.01, 1),
    "loc": "upper left",
    "frameon": False,
}
"""Where a legend stands: beside the figure, never on it."""


def length(axes: Axes, group: Data, rows: Sequence[Data]) -> None:
    """Draw figures against mean lengths, with an arrow from raw to controlled."""
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
    axes.set_ylabel(heading(group, best))
    axes.legend(**BESIDE)


def forest(axes: Axes, group: Data, found: Data) -> None:
    """Draw paired differences from the first contestant."""
    rows = [group["rows"][at] for at in found["at"]]
    for place in range(1, len(rows)):
        value, reach = found["value"][place][0], found["reach"][place][0]
        if value is not None:
            at = found["at"][place]
            axes.errorbar(value, place, xerr=reach or 0.0, fmt=_mark(at), color=_hue(at))
    axes.axvline(0, color="grey", linestyle="--", linewidth=0.8)
    axes.set_xlabel(f"{heading(group, found['metric'])}, less {_name(rows[0])}")
    _lines(axes, [(place, _name(rows[place])) for place in range(1, len(rows))])


def parts(axes: Axes, group: Data, found: Data) -> None:
    """Draw figures by the parts of a benchmark."""
    count = len(group["rows"])
    for at, (row, cells) in enumerate(zip(group["rows"], found["cells"], strict=True)):
        for part, cell in enumerate(cells):
            if cell is not None:
                place = part + 0.7 * ((at + 0.5) / count - 0.5)
                reach: Look = {} if cell["low"] is None else {"xerr": _reaches([cell])}
                name = _name(row) if part == 0 else None
                look: Look = {"fmt": _mark(at), "color": _hue(at), "ms": 3.5}
                axes.errorbar(cell["value"], place, label=name, **look, **reach)
    axes.set_xlabel(heading(group, found["metric"]))
    names = [f"{plain(part['name'])} ({part['n']})" for part in found["parts"]]
    _lines(axes, list(enumerate(names)))
    axes.legend(**BESIDE)


def wins(axes: Axes, rows: Sequence[Data]) -> None:
    """Draw wins, ties and losses as shares."""
    for place, row in enumerate(rows):
        whole, begun = sum(row["decided"]) or 1, 0.0
        for name, count, colour in zip(
            ("win", "tie", "loss"), row["decided"], (WON, DRAWN, LOST), strict=True
        ):
            share = 100 * count / whole
            axes.barh(place, share, left=begun, color=colour, label=None if place else name)
            begun += share
    axes.set_xlabel("share, %")
    _lines(axes, [(place, _name(row)) for place, row in enumerate(rows)])
    axes.legend(**BESIDE)


def order(axes: Axes, rows: Sequence[Data]) -> None:
    """Draw what the first answers win, and what is consistent under a swap."""
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
    axes.legend(**BESIDE)


def matrix(axes: Axes, group: Data, found: Data) -> None:
    """Draw every pair's difference; a star where it is told from nought."""
    names = [_name(group["rows"][at]) for at in found["at"]]
    known = [[value or 0.0 for value in row] for row in found["value"]]
    most = max(abs(value) for row in known for value in row) or 1.0
    axes.imshow(known, cmap="PuOr", vmin=-1.5 * most, vmax=1.5 * most, aspect="auto")
    axes.grid(visible=False)
    digits = next((m["digits"] for m in group["metrics"] if m["name"] == found["metric"]), 1)
    for row, values in enumerate(found["value"]):
        for column, value in enumerate(values):
            if row != column and value is not None:
                star = "*" if found["p"][row][column] <= SURE else ""
                text = f"{value:+.{digits}f}{star}"
                axes.text(column, row, text, ha="center", va="center", fontsize=6)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel(f"{heading(group, found['metric'])}, row less column")


def curves(axes: Axes, called: str, series: Sequence[Series]) -> None:
    """Draw a figure by iteration, a line a method or run."""
    from matplotlib.ticker import MaxNLocator

    for at, (label, points) in enumerate(series):
        if points:
            places, found = [i for i, _ in points], [figure for _, figure in points]
            look: Look = {"fmt": f"-{_mark(at)}", "color": _hue(at), "label": _shown(label)}
            axes.errorbar(places, [f["value"] for f in found], yerr=_bounds(found), **look)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel(plain(called))
    axes.legend(**BESIDE)


def cost(axes: Axes, group: Data, rows: Sequence[Data], key: str) -> None:
    """Draw a figure against what it has cost."""
    metric = group["controlled"] or group["raw"]
    for row in rows:
        at = group["rows"].index(row)
        axes.plot(
            row[key], row["figures"][metric]["value"], _mark(at), color=_hue(at), label=_name(row)
        )
    axes.set_xlabel(COSTS[key])
    axes.set_ylabel(heading(group, metric))
    axes.legend(**BESIDE)


def between(axes: Axes, bridge: Data, metric: Data) -> None:
    """Draw every model's figure under two judges."""
    rows = bridge["rows"]
    for at, (side, off) in enumerate((("old", -0.15), ("new", 0.15))):
        told = [(i + off, row["figures"][metric["name"]][side]) for i, row in enumerate(rows)]
        places = [place for place, figure in told if figure]
        found = [figure for _, figure in told if figure]
        look: Look = {"fmt": _mark(at), "color": _hue(at), "label": _shown(bridge[side])}
        axes.errorbar([f["value"] for f in found], places, xerr=_bounds(found), **look)
    axes.set_xlabel(metric["heading"])
    _lines(axes, [(place, _name(row)) for place, row in enumerate(rows)])
    axes.legend(**BESIDE)


def _lines(axes: Axes, names: Sequence[tuple[int, str]]) -> None:
    """Name the lines of a figure, the first on top."""
    axes.set_yticks([place for place, _ in names], [name for _, name in names])
    axes.invert_yaxis()


def _reaches(found: Sequence[Data]) -> list[list[float]]:
    """Return how far intervals reach below and above their figures; rounding may go beyond."""
    below = [max(0.0, one["value"] - one["low"]) for one in found]
    return [below, [max(0.0, one["high"] - one["value"]) for one in found]]


def _bounds(found: Sequence[Data]) -> list[list[float]]:
    """Return how far intervals reach; nowhere where there is none."""
    return _reaches(
        [f if f["low"] is not None else {**f, "low": f["value"], "high": f["value"]} for f in found]
    )


def heading(group: Data, name: str) -> str:
    """Return what a metric is called."""
    return next((m["heading"] for m in group["metrics"] if m["name"] == name), name)


def _name(row: Data) -> str:
    return _shown(str(row["label"]))


def _shown(label: str) -> str:
    """Return a name as a legend shows it: one that begins with an underscore it would hide."""
    return plain(label).lstrip("_")[:60]


def _hue(at: int) -> str:
    return HUES[at % len(HUES)]


def _mark(at: int) -> str:
    return MARKS[at % len(MARKS)]
