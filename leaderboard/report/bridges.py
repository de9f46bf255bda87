"""From one judge to another: what `harness judge bridge` has filed, as the report shows it.

A bridge sets the figures of the same answers under two judges side by side, and tells how far the
new judge agrees with the old one and with itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leaderboard import columns
from leaderboard.measured import BRIDGES

Data = Mapping[str, Any]
Figure = dict[str, float | None]
PERCENT = 100.0
COSTS = {
    "calls": "calls",
    "unread": "of them not read",
    "failed": "of them without a reply",
    "prompt_tokens": "tokens asked",
    "completion_tokens": "tokens answered",
}


def bridges(workspace: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the bridges of a workspace by name, and what must be told of files that hold none."""
    found, told = [], []
    for path in sorted((workspace / "results" / BRIDGES).glob("*.json")):
        try:
            found.append(_bridge(path.stem, json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            told.append(
                f"{BRIDGES}/{path.name} is no bridge from judge to judge ({error!r}) and is left "
                "out; run `harness judge bridge` again"
            )
    return found, told


def _bridge(name: str, told: Data) -> dict[str, Any]:
    metrics = {m: None for row in told["models"] for m in _metrics(row)}
    rows = [_row(row, list(metrics)) for row in told["models"]]
    return {
        "name": name,
        "old": _text(told["from"]),
        "new": _text(told["to"]),
        "benchmark": _text(told["benchmark"]),
        "prompts": int(told["prompts"]),
        "verdicts": int(told["verdicts"]),
        "metrics": [
            {"name": m, "heading": columns.heading(m), "digits": columns.METRICS[m][1]}
            for m in metrics
        ],
        "rows": rows,
        "order": _figure(told["rank_correlation"]),
        "kappa": _figure(told["kappa"]),
        "bias": _figure(told["bias"], PERCENT),
        "shares": _shares(told),
        "moved": _figure((told.get("self_consistency") or {}).get("mean_difference"), PERCENT),
        "cost": _cost(told.get("cost") or {}),
    }


def _metrics(row: Data) -> list[str]:
    """Return the metrics of a model that a table shows, under both judges."""
    return [name for name in columns.METRICS if name in row]


def _row(row: Data, metrics: Sequence[str]) -> dict[str, Any]:
    sides = {name: row.get(name) or {} for name in metrics}
    return {
        "label": _text(row["label"]),
        "unread": int(row["unread"]),
        "figures": {
            name: {side: _figure(both.get(side)) for side in ("old", "new")}
            for name, both in sides.items()
        },
    }


def _shares(told: Data) -> list[dict[str, Any]]:
    """Return what is a share of verdicts, in percent; `judge` is whose figure it is."""
    first = told["first_slot"]
    found = [
        ("first", "old", first["old"], None),
        ("first", "new", first["new"], None),
        ("same", "new", told["same_verdict"], told["verdicts"]),
    ]
    for name, asked in (("again", "self_consistency"), ("swapped", "order_consistency")):
        if one := told.get(asked):
            found.append((name, "new", one["same_verdict"], one["requests"]))
    return [
        {"name": name, "judge": judge, "figure": _figure(one, PERCENT), "n": n and int(n)}
        for name, judge, one, n in found
    ]


def _cost(told: Data) -> dict[str, Any]:
    known = [[called, int(told[name])] for name, called in COSTS.items() if told.get(name)]
    dollars = told.get("dollars")
    return {
        "counts": known,
        "dollars": None if dollars is None else float(dollars),
        "price": _text(told.get("price") or ""),
    }


def _figure(told: Data | None, scale: float = 1.0) -> Figure | None:
    """Return a figure with its interval; None where it is not known."""
    if told is None or told["value"] is None:
        return None
    parts = {name: told.get(name) for name in ("value", "low", "high")}
    found = {name: None if part is None else scale * float(part) for name, part in parts.items()}
    if not all(math.isfinite(part) for part in found.values() if part is not None):
        raise ValueError(f"{told} is no figure")
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
