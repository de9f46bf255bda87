"""The columns that a table can have: their headings, cells and sort keys."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.core.config import suggest
from harness.errors import ConfigError
from harness.types import Estimate
from leaderboard.rows import Row

DASH = "–"
ALL = "all"
HARNESS, COMMIT = "preference-harness", "commit"
"""Keys of a result's versions."""
COMMIT_DIGITS = 10
"""Shown digits of a commit."""

METRICS = {
    "win_rate": ("win rate %", 1),
    "length_controlled_win_rate": ("length-controlled %", 1),
    "style_controlled_win_rate": ("style-controlled %", 1),
    "hard_prompt_win_rate": ("hard prompts %", 1),
    "hard_prompt_style_controlled_win_rate": ("hard prompts, style-controlled %", 1),
    "creative_writing_win_rate": ("creative writing %", 1),
    "creative_writing_style_controlled_win_rate": ("creative writing, style-controlled %", 1),
    "score": ("rating", 2),
    "wb_score": ("WB-Score", 1),
    "wb_reward": ("WB-Reward", 1),
    "task_macro": ("weighted by task", 1),
    "prompt_level_strict": ("prompts, strict %", 1),
    "prompt_level_loose": ("prompts, loose %", 1),
}
"""The metrics with a column by default: heading and decimals, in order."""
RATINGS = ("score", "turn_1", "turn_2")
RATING_BOUNDS = (1.0, 10.0)
DIFFERENCE = "_difference"
"""The suffix of a metric that is a difference from the baseline."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A column that is not a metric of the benchmark."""

    heading: str
    text: Callable[[Row], str]
    sort_value: Callable[[Row], float | str | None]
    """The sort key; None comes last."""
    is_numeric: bool = False


def _number(value: float | None, digits: int = 1, scale: float = 1.0) -> str:
    return DASH if value is None else f"{scale * value:z.{digits}f}"


def _length(value: float | None, row: Row) -> str:
    """Return a mean length; documents print integers."""
    return _number(value, digits=0 if row.document else 1)


def _hours(value: float | None) -> str:
    """Return hours with two significant digits below 1, so that few are not rounded to 0."""
    extra_digits = 0 if not value or value >= 1 else -math.floor(math.log10(value))
    return _number(value, digits=1 + extra_digits)


def _commit(row: Row) -> str:
    """Return a commit's first digits, with a mark where the checkout was dirty."""
    name, mark, rest = row.versions.get(COMMIT, "").partition("+")
    return f"{name[:COMMIT_DIGITS]}{mark}{rest}"


def _versions(row: Row) -> str:
    packages = sorted(row.versions.items())
    return ", ".join(
        f"{name} {version}" for name, version in packages if name not in (HARNESS, COMMIT)
    )


def metric_bounds(name: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a metric that has values by prompt."""
    return RATING_BOUNDS if name in RATINGS else (0.0, 100.0)


def _judged(row: Row) -> str:
    return DASH if row.judged_count is None else f"{row.judged_count} of {row.prompt_count}"


def _method(row: Row) -> str:
    """Return a label; for a document's row with the iteration and base that distinguish it.

    Where rows are means over seeds, a row of one seed is marked.
    """
    if row.document is None:
        return f"{row.label} (1 seed)" if len(row.repeats) == 1 else row.label
    iteration = f", iteration {row.iteration}" if row.iteration else ""
    base = f" ({row.base})" if row.base and row.base not in row.label else ""
    return f"{row.label}{iteration}{base}"


CONTESTANT_FACTS = {
    "method": Fact("method", _method, lambda row: row.label),
    "base": Fact("base", lambda row: row.base or DASH, lambda row: row.base or None),
    "iteration": Fact(
        "iteration",
        lambda row: DASH if row.iteration is None else str(row.iteration),
        lambda row: row.iteration,
        is_numeric=True,
    ),
    "seeds": Fact(
        "seeds",
        lambda row: ", ".join(map(str, row.seeds)) or DASH,
        lambda row: len(row.seeds) or None,
        is_numeric=True,
    ),
    "run": Fact("run", lambda row: row.run or DASH, lambda row: row.run or None),
}
"""Columns about a contestant, the same on every benchmark."""

RESULT_FACTS = {
    "length": Fact(
        "mean length",
        lambda row: _length(row.mean_length, row),
        lambda row: row.mean_length,
        is_numeric=True,
    ),
    "tokens": Fact("tokens", lambda r: _length(r.tokens, r), lambda r: r.tokens, is_numeric=True),
    "truncated": Fact(
        "cut off %",
        lambda row: _number(row.truncated, scale=100),
        lambda row: row.truncated,
        is_numeric=True,
    ),
    "judged": Fact("n judged", _judged, lambda row: row.judged_count, is_numeric=True),
    "judge": Fact("judge", lambda row: row.judge or DASH, lambda row: row.judge or None),
    "baseline": Fact("against", lambda r: r.baseline or DASH, lambda r: r.baseline or None),
    "dollars": Fact("$", lambda row: _number(row.dollars, 2), lambda r: r.dollars, is_numeric=True),
    "gpu-hours": Fact(
        "GPU hours", lambda row: _hours(row.gpu_hours), lambda row: row.gpu_hours, is_numeric=True
    ),
    "cpu-hours": Fact(
        "CPU hours",
        lambda row: _hours(row.cpu_hours),
        lambda row: row.cpu_hours,
        is_numeric=True,
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
"""Columns about a contestant on one benchmark, beside the metrics."""
NARROW_FACTS, WIDE_FACTS = ("length", "judged"), ("length",)
"""The default facts in a table of one benchmark, and in one across benchmarks."""


def metric_names(rows: Sequence[Row]) -> list[str]:
    """Return the metrics of rows, those with a column by default first."""
    present = {name: None for row in rows for name in row.estimates}
    base_metrics = [name for name in present if not name.endswith(DIFFERENCE)]
    ordered = [name for name in METRICS if name in base_metrics] + [
        n for n in base_metrics if n not in METRICS
    ]
    return [n for name in ordered for n in (name, difference_name(name)) if n in present]


def difference_name(metric: str) -> str:
    """Return the name of a metric's difference from the baseline."""
    return f"{metric}{DIFFERENCE}"


def _base_metric(name: str) -> str:
    return name.removesuffix(DIFFERENCE)


def column_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of all columns that these rows can fill."""
    return [*CONTESTANT_FACTS, *metric_names(rows), *RESULT_FACTS]


def check_columns(requested: Sequence[str], rows: Sequence[Row]) -> None:
    """Refuse a column that no row could fill.

    Raises:
        ConfigError: there is no such column; the message lists those that exist.
    """
    for name in requested:
        if name not in (ALL, *METRICS, *column_names(rows)):
            raise ConfigError(f"no column called {name!r}{suggest(name, column_names(rows))}")


def choose_columns(
    requested: Sequence[str], rows: Sequence[Row], facts: Sequence[str]
) -> list[str]:
    """Return the names of the columns for rows of one protocol, in order.

    Args:
        requested: By the user; empty: the metrics with a column by default, and `facts`.
        rows: All rows of the table.
        facts: Names of columns beside the metrics.
    """
    present = metric_names(rows)
    if ALL in requested:
        return [*CONTESTANT_FACTS, *present, *RESULT_FACTS]
    if requested:
        return [
            name
            for name in requested
            if name in present or name in CONTESTANT_FACTS or name in RESULT_FACTS
        ]
    return ["method", *([m for m in present if _base_metric(m) in METRICS] or present), *facts]


def column_heading(name: str) -> str:
    """Return the heading of a column."""
    if name.endswith(DIFFERENCE):
        return f"Δ {column_heading(_base_metric(name))}"
    if name in METRICS:
        return METRICS[name][0]
    fact = CONTESTANT_FACTS.get(name) or RESULT_FACTS.get(name)
    return fact.heading if fact else name.replace("_", " ")


def metric_digits(name: str, row: Row) -> int:
    """Return the decimals of a metric: as published, or the metric's default."""
    name = _base_metric(name)
    default = 2 if name in RATINGS else METRICS.get(name, ("", 1))[1]
    return row.digits.get(name, default)


def sort_value(name: str, row: Row) -> float | str | None:
    """Return a row's sort key in a column; None comes last."""
    if fact := CONTESTANT_FACTS.get(name) or RESULT_FACTS.get(name):
        return fact.sort_value(row)
    return row.estimates[name].value if name in row.estimates else None


def format_interval(estimate: Estimate | None, digits: int = 1) -> str:
    """Return an estimate with its interval, or a dash."""
    if estimate is None:
        return DASH
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:z.{digits}f}"
    low, high = (f"{bound:z.{digits}f}" for bound in (estimate.low, estimate.high))
    return f"{estimate.value:z.{digits}f} [{low}, {high}]"
