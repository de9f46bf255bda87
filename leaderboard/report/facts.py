"""What the report says of one result, as plain data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.errors import StoreError
from harness.types import Estimate
from leaderboard import columns
from leaderboard.report.filed import Filed

CONTROL = re.compile(r"null.?model", re.IGNORECASE)
"""What a contestant is called that answers nothing: a control of the judge, not a method."""
ALIKE = 0.99
"""The share of answers that equal another prompt's from which on nothing is answered."""
DECIDED = ("n_wins", "n_draws", "n_wins_base")
PROVENANCE = (
    "judge",
    "judges_served",
    "judged_with",
    "answered",
    "sources",
    "answers_sha256",
    "versions",
    "schema",
)
"""The fields of a result that say how it came about."""


def metric(name: str, own: Sequence[Filed]) -> dict[str, Any]:
    """Return what a metric is called and how it is printed."""
    digits, rating = columns.digits(name, own[0].row), name in columns.RATINGS
    return {"name": name, "heading": columns.heading(name), "digits": digits, "rating": rating}


def fitting(one: Filed) -> dict[str, Any]:
    """Return a result's facts.

    Raises:
        StoreError: a field of the result or of its items has another form.
    """
    try:
        return facts(one)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise StoreError(
            f"{one.row.source} does not fit ({error!r}); remove it and run `harness eval` again"
        ) from error


def facts(one: Filed) -> dict[str, Any]:
    """Return who it is, its figures, lengths, counts, cost and provenance."""
    row, result = one.row, one.result
    lengths = [item["length"] for item in one.items if item.get("length") is not None]
    return {
        "label": row.label,
        "source": row.source,
        "base": row.base,
        "method": row.method,
        "iteration": row.iteration,
        "run": row.run,
        "baseline": row.baseline,
        "control": _control(one),
        "figures": {name: _figure(estimate) for name, estimate in row.estimates.items()},
        "length": row.mean_length,
        "length_error": _error(lengths),
        "tokens": row.tokens,
        "truncated": None if row.truncated is None else 100 * row.truncated,
        "judged": row.judged,
        "asked": row.asked,
        "dollars": row.dollars,
        "gpu_hours": row.gpu_hours,
        "decided": _decided(one),
        "unread": one.counts.get("unread", 0),
        "notes": [str(note) for note in row.notes],
        "provenance": {key: result[key] for key in PROVENANCE if result.get(key)},
    }


def _control(one: Filed) -> bool:
    """Say whether a contestant answers nothing: by its name, or because all answers are equal."""
    screen = (one.result["score"].get("details") or {}).get("screen") or {}
    alike = screen.get("identical_answers") or 0.0
    return bool(CONTROL.search(one.row.label)) or alike >= ALIKE


def _figure(estimate: Estimate) -> dict[str, float | None]:
    bounds = {"low": estimate.low, "high": estimate.high}
    return {"value": float(estimate.value), **bounds, "error": estimate.standard_error}


def _error(lengths: Sequence[int]) -> float | None:
    if len(lengths) < 2:
        return None
    middle = sum(lengths) / len(lengths)
    spread = sum((length - middle) ** 2 for length in lengths) / (len(lengths) - 1)
    return float((spread / len(lengths)) ** 0.5)


def _decided(one: Filed) -> list[int] | None:
    """Return what was won, drawn and lost: the protocol's own count, or else of the prompts."""
    if all(name in one.counts for name in DECIDED):
        return [one.counts[name] for name in DECIDED]
    shares = [i["won"] / i["weight"] for i in one.items if i.get("weight")]
    shares += [i["preference"] for i in one.items if i.get("preference") is not None]
    if not shares:
        return None
    won, drawn = sum(s > 0.5 for s in shares), sum(s == 0.5 for s in shares)
    return [won, drawn, len(shares) - won - drawn]
