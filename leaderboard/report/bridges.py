"""Comparisons of two judges that `harness judge bridge` has written, as the report shows them.

A bridge puts the figures of the same answers under two judges side by side, and reports how far the
new judge agrees with the old one and with itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.workspace import Workspace, bridge_directory, read_bridge
from harness.errors import StoreError
from leaderboard import columns
from leaderboard.table import EstimateData

Data = Mapping[str, Any]
PERCENT = 100.0
COST_LABELS = {
    "calls": "calls",
    "unparsed": "unparsed replies",
    "failed": "calls without a reply",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
}


def read_bridges(root: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the bridges of a workspace by name, and messages about files that hold none."""
    entries, messages = [], []
    for path in sorted(bridge_directory(Workspace(root, isolate=False)).glob("*.json")):
        try:
            entries.append(_bridge(path.stem, read_bridge(path)))
        except StoreError as error:
            messages.append(f"{error}; it is left out")
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            messages.append(
                f"{path.parent.name}/{path.name} is not a comparison of two judges ({error!r}) and "
                "is left out; run `harness judge bridge` again"
            )
    return entries, messages


def _bridge(name: str, data: Data) -> dict[str, Any]:
    metrics = {m: None for row in data["models"] for m in columns.METRICS if m in row}
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
        "rows": [_row(row, list(metrics)) for row in data["models"]],
        "order": _estimate(data["rank_correlation"]),
        "kappa": _estimate(data["kappa"]),
        "bias": _estimate(data["bias"], PERCENT),
        "shares": _shares(data),
        "shift": _estimate((data.get("self_consistency") or {}).get("mean_difference"), PERCENT),
        "cost": _cost(data["cost"]),
    }


def _row(row: Data, metrics: Sequence[str]) -> dict[str, Any]:
    sides = {name: row.get(name) or {} for name in metrics}
    return {
        "label": _text(row["label"]),
        "unparsed": int(row["unparsed"]),
        "figures": {
            name: {side: _estimate(estimates.get(side)) for side in ("old", "new")}
            for name, estimates in sides.items()
        },
    }


def _shares(data: Data) -> list[dict[str, Any]]:
    """Return the shares of verdicts, in percent, each with the judge that it describes."""
    first = data["first_slot"]
    shares = [
        ("first", "old", first["old"], None),
        ("first", "new", first["new"], None),
        ("same", "new", data["same_verdict"], data["verdicts"]),
    ]
    for name, key in (("repeated", "self_consistency"), ("swapped", "order_consistency")):
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
        raise ValueError(f"{data} is not a figure")
    return estimate


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
