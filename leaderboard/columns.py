"""The columns that a table can have: what they are called, what stands in them, how they sort."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.config import known
from harness.errors import ConfigError
from harness.types import Estimate
from leaderboard.rows import Row

DASH = "–"
ALL = "all"
HARNESS, COMMIT = "preference-harness", "commit"
"""Names among a result's versions."""
SHORT = 10
"""Digits of a commit that are shown."""

METRICS = {
    "win_rate": ("win rate %", 1),
    "length_controlled_win_rate": ("length-controlled %", 1),
    "style_controlled_win_rate": ("style-controlled %", 1),
    "hard_prompt_win_rate": ("hard prompts %", 1),
    "hard_prompt_style_controlled_win_rate": ("hard prompts, style-controlled %", 1),
    "creative_writing_win_rate": ("creative writing %", 1),
    "creative_writing_style_controlled_win_rate": ("creative writing, style-controlled %", 1),
    "score": ("rating", 2),
}
"""Metrics that have a column unless others are asked for: its heading and decimals, in order."""
RATINGS = ("score", "turn_1", "turn_2")
DIFFERENCE = "_difference"
"""How the name of a metric ends that is a difference from a named contestant."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A column that is no figure of the benchmark's."""

    heading: str
    text: Callable[[Row], str]
    order: Callable[[Row], float | str | None]
    """What a row sorts by; None comes last."""
    number: bool = False


def _number(value: float | None, digits: int = 1, scale: float = 1.0) -> str:
    return DASH if value is None else f"{scale * value:.{digits}f}"


def _length(value: float | None, row: Row) -> str:
    """Return a mean length; documents print whole numbers."""
    return _number(value, digits=0 if row.document else 1)


def _hours(value: float | None) -> str:
    """Return hours with two digits that say something: few are not rounded to none."""
    few = 0 if not value or value >= 1 else -math.floor(math.log10(value))
    return _number(value, digits=1 + few)


def _commit(row: Row) -> str:
    """Return a commit's first digits, and whether the checkout had been changed."""
    name, mark, rest = row.versions.get(COMMIT, "").partition("+")
    return f"{name[:SHORT]}{mark}{rest}"


def _versions(row: Row) -> str:
    told = sorted(row.versions.items())
    return ", ".join(f"{name} {version}" for name, version in told if name not in (HARNESS, COMMIT))


def _judged(row: Row) -> str:
    return DASH if row.judged is None else f"{row.judged} of {row.asked}"


def _seeds(row: Row) -> list[int]:
    """Return the seeds of a row's runs, as far as they are known."""
    return [each.seed for each in row.repeats or (row,) if each.seed is not None]


def _method(row: Row) -> str:
    """Return a label; with a document's also what else tells its rows apart."""
    if row.document is None:
        return row.label
    iteration = f", iteration {row.iteration}" if row.iteration else ""
    base = f" ({row.base})" if row.base and row.base not in row.label else ""
    return f"{row.label}{iteration}{base}"


CONTESTANT = {
    "method": Fact("method", _method, lambda row: row.label),
    "base": Fact("base", lambda row: row.base or DASH, lambda row: row.base or None),
    "iteration": Fact(
        "iteration",
        lambda row: DASH if row.iteration is None else str(row.iteration),
        lambda row: row.iteration,
        number=True,
    ),
    "seeds": Fact(
        "seeds",
        lambda row: ", ".join(map(str, _seeds(row))) or DASH,
        lambda row: len(_seeds(row)) or None,
        number=True,
    ),
    "run": Fact("run", lambda row: row.run or DASH, lambda row: row.run or None),
}
"""What a contestant is, on whatever benchmark."""

FACTS = {
    "length": Fact(
        "mean length",
        lambda row: _length(row.mean_length, row),
        lambda row: row.mean_length,
        number=True,
    ),
    "tokens": Fact("tokens", lambda r: _length(r.tokens, r), lambda r: r.tokens, number=True),
    "truncated": Fact(
        "cut off %",
        lambda row: _number(row.truncated, scale=100),
        lambda row: row.truncated,
        number=True,
    ),
    "judged": Fact("n judged", _judged, lambda row: row.judged, number=True),
    "judge": Fact("judge", lambda row: row.judge or DASH, lambda row: row.judge or None),
    "baseline": Fact("against", lambda r: r.baseline or DASH, lambda r: r.baseline or None),
    "dollars": Fact("$", lambda row: _number(row.dollars, 2), lambda r: r.dollars, number=True),
    "gpu-hours": Fact(
        "GPU hours", lambda row: _hours(row.gpu_hours), lambda row: row.gpu_hours, number=True
    ),
    "processor-hours": Fact(
        "processor hours",
        lambda row: _hours(row.processor_hours),
        lambda row: row.processor_hours,
        number=True,
    ),
    "version": Fact(
        "version",
        lambda row: row.versions.get(HARNESS, DASH),
        lambda row: row.versions.get(HARNESS),
    ),
    "commit": Fact("commit", lambda row: _commit(row) or DASH, lambda row: _commit(row) or None),
    "versions": Fact("versions", lambda row: _versions(row) or DASH, lambda row: _versions(row)),
    "source": Fact("source", lambda row: row.source, lambda row: row.source),
}
"""What is known of a contestant on one benchmark beside the figures."""
NARROW, WIDE = ("length", "judged"), ("length",)
"""The facts in a table of one benchmark, and in one across benchmarks, unless asked for."""


def metrics(rows: Sequence[Row]) -> list[str]:
    """Return the metrics of rows: those with a column by default first."""
    there = {name: None for row in rows for name in row.estimates}
    own = [name for name in there if not name.endswith(DIFFERENCE)]
    ordered = [name for name in METRICS if name in own] + [n for n in own if n not in METRICS]
    return [n for name in ordered for n in (name, difference(name)) if n in there]


def difference(metric: str) -> str:
    """Return what a metric's difference from a named contestant is called."""
    return f"{metric}{DIFFERENCE}"


def _own(name: str) -> str:
    return name.removesuffix(DIFFERENCE)


def names(rows: Sequence[Row]) -> list[str]:
    """Return every name that a column of these rows can be asked for by."""
    return [*CONTESTANT, *metrics(rows), *FACTS]


def check(asked: Sequence[str], rows: Sequence[Row]) -> None:
    """Refuse a column that no row could fill.

    Raises:
        ConfigError: there is no such column; it names those that there are.
    """
    for name in asked:
        if name not in (ALL, *METRICS, *names(rows)):
            raise ConfigError(f"no column called {name!r}{known(name, names(rows))}")


def chosen(asked: Sequence[str], rows: Sequence[Row], facts: Sequence[str]) -> list[str]:
    """Return the names of the columns for rows of one protocol, in order.

    Args:
        asked: By the user; nothing: the metrics that have a column by default, and `facts`.
        rows: All that will stand in the table.
        facts: Beside the figures.
    """
    there = metrics(rows)
    if ALL in asked:
        return [*CONTESTANT, *there, *FACTS]
    if asked:
        return [name for name in asked if name in there or name in CONTESTANT or name in FACTS]
    return ["method", *([m for m in there if _own(m) in METRICS] or there), *facts]


def heading(name: str) -> str:
    """Return what stands above a column."""
    if name.endswith(DIFFERENCE):
        return f"Δ {heading(_own(name))}"
    if name in METRICS:
        return METRICS[name][0]
    fact = CONTESTANT.get(name) or FACTS.get(name)
    return fact.heading if fact else name.replace("_", " ")


def digits(name: str, row: Row) -> int:
    """Return the decimals of a figure: as published, or the metric's own."""
    name = _own(name)
    default = 2 if name in RATINGS else METRICS.get(name, ("", 1))[1]
    return row.digits.get(name, default)


def order(name: str, row: Row) -> float | str | None:
    """Return what a row sorts by in a column; None comes last."""
    if fact := CONTESTANT.get(name) or FACTS.get(name):
        return fact.order(row)
    return row.estimates[name].value if name in row.estimates else None


def interval(estimate: Estimate | None, digits: int = 1) -> str:
    """Return a figure with its interval, or a dash."""
    if estimate is None:
        return DASH
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.{digits}f}"
    low, high = (f"{bound:.{digits}f}" for bound in (estimate.low, estimate.high))
    return f"{estimate.value:.{digits}f} [{low}, {high}]"
