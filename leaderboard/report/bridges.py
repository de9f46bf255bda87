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
from leaderboard.measurements import BRIDGES

Data = Mapping[str, Any]
EstimateData = dict[str, float | None]
PERCENT = 100.0
COST_LABELS = {
    "calls": "calls",
    "unparsed": "of them unparsed",
    "failed": "of them without a reply",
    "prompt_tokens": "tokens asked",
    "completion_tokens": "tokens answered",
}


def read_bridges(workspace: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the bridges of a workspace by name, and what must be told of files that hold none."""
    entries, messages = [], []
    for path in sorted((workspace / "results" / BRIDGES).glob("*.json")):
        try:
            entries.append(_bridge(path.stem, json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            messages.append(
                f"{BRIDGES}/{path.name} is no bridge from judge to judge ({error!r}) and is left "
                "out; run `harness judge bridge` again"
            )
    return entries, messages


def _bridge(name: str, data: Data) -> dict[str, Any]:
    metrics = {m: None for row in data["models"] for m in _metrics(row)}
    rows = [_row(row, list(metrics)) for row in data["models"]]
    return {
        "name": name,
        "old": _text(data["from"]),
        "new": _text(data["to"]),
        "benchmark": _text(data["benchmark"]),
        "prompts": int(data["prompts"]),
        "verdicts": int(data["verdicts"]),
        "metrics": [
            {"name": m, "heading": columns.column_heading(m), "digits": columns.METRICS[m][1]}
            for m in metrics
        ],
        "rows": rows,
        "order": _estimate(data["rank_correlation"]),
        "kappa": _estimate(data["kappa"]),
        "bias": _estimate(data["bias"], PERCENT),
        "shares": _shares(data),
        "moved": _estimate((data.get("self_consistency") or {}).get("mean_difference"), PERCENT),
        "cost": _cost(data.get("cost") or {}),
    }


def _metrics(row: Data) -> list[str]:
    """Return the metrics of a model that a table shows, under both judges."""
    return [name for name in columns.METRICS if name in row]


def _row(row: Data, metrics: Sequence[str]) -> dict[str, Any]:
    sides = {name: row.get(name) or {} for name in metrics}
    return {
        "label": _text(row["label"]),
        "unread": int(row["unparsed"]),
        "figures": {
            name: {side: _estimate(estimates.get(side)) for side in ("old", "new")}
            for name, estimates in sides.items()
        },
    }


def _shares(data: Data) -> list[dict[str, Any]]:
    """Return what is a share of verdicts, in percent; `judge` is whose figure it is."""
    first = data["first_slot"]
    shares = [
        ("first", "old", first["old"], None),
        ("first", "new", first["new"], None),
        ("same", "new", data["same_verdict"], data["verdicts"]),
    ]
    for name, key in (("again", "self_consistency"), ("swapped", "order_consistency")):
        if consistency := data.get(key):
            shares.append((name, "new", consistency["same_verdict"], consistency["requests"]))
    return [
        {"name": name, "judge": judge, "figure": _estimate(share, PERCENT), "n": n and int(n)}
        for name, judge, share, n in shares
    ]


def _cost(data: Data) -> dict[str, Any]:
    counts = [[label, int(data[name])] for name, label in COST_LABELS.items() if data.get(name)]
    dollars = data.get("dollars")
    return {
        "counts": counts,
        "dollars": None if dollars is None else float(dollars),
        "price": _text(data.get("price") or ""),
    }


def _estimate(data: Data | None, scale: float = 1.0) -> EstimateData | None:
    """Return a figure with its interval; None where it is not known."""
    if data is None or data["value"] is None:
        return None
    parts = {name: data.get(name) for name in ("value", "low", "high")}
    estimate = {name: None if part is None else scale * float(part) for name, part in parts.items()}
    if not all(math.isfinite(part) for part in estimate.values() if part is not None):
        raise ValueError(f"{data} is no figure")
    return estimate


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
