"""Figures by the parts of a benchmark: data sets, categories, clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.statistics.bootstrap import ratio_interval
from leaderboard.marks import Items, values
from leaderboard.report.filed import Filed

PARTS = {"dataset": "source", "category": "category", "cluster": "cluster"}
"""By field of an item: what its parts are called."""
FEWEST = 5
"""Prompts without which a part has no interval."""
ROUNDS, SEED = 1000, 0


def breakdowns(results: Sequence[Filed], metric: str) -> list[dict[str, Any]]:
    """Return one table a kind of part: the part's prompts and each result's figure in it."""
    found = []
    for field, called in PARTS.items():
        sizes = _sizes(results, field)
        if len(sizes) > 1:
            cells = [_cells(one.items, field, list(sizes), metric) for one in results]
            parts = [{"name": name, "n": n} for name, n in sizes.items()]
            found.append({"by": called, "metric": metric, "parts": parts, "cells": cells})
    return found


def _sizes(results: Sequence[Filed], field: str) -> dict[str, int]:
    """Return how many prompts each part has at most, in the order of first sight."""
    found: Counter[str] = Counter()
    for one in results:
        prompts = {_prompt(item): item[field] for item in one.items if item.get(field)}
        for name, count in Counter(prompts.values()).items():
            found[name] = max(found[name], count)
    return dict(found)


def _prompt(item: Mapping[str, Any]) -> str:
    return str(item.get("question", item["prompt_id"]))


def _cells(
    items: Items, field: str, names: Sequence[str], metric: str
) -> list[dict[str, Any] | None]:
    parts: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for item in items:
        if item.get(field) in parts:
            parts[item[field]].append(item)
    return [_figure(own, metric) for own in parts.values()]


def _figure(items: Items, metric: str) -> dict[str, Any] | None:
    known = list(values(items, metric).values())
    if not known:
        return None
    top, bottom = ([pair[side] for pair in known] for side in (0, 1))
    if len(known) < FEWEST:
        return {"value": sum(top) / sum(bottom), "low": None, "high": None, "n": len(known)}
    told = ratio_interval(top, bottom, seed=SEED, rounds=ROUNDS)
    return {"value": told.value, "low": told.low, "high": told.high, "n": len(known)}
