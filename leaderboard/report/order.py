"""Whether a judge favours a place: what the first answer wins, and what changes under a swap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from leaderboard.report.seen import Seen

NORMAL = 1.959964


def order(comparisons: Sequence[Seen]) -> dict[str, Any] | None:
    """Return shares in percent with their 95 % intervals; None where no order is known.

    `first` is what the first answers win of the games with a known order; without a bias it is 50
    where each pair is played both ways or in a drawn order. `consistent` is the share of pairs,
    played both ways, with the same winner.
    """
    games = [g.first for c in comparisons for g in c.games if g.order and g.first is not None]
    if not games:
        return None
    swapped = [c for c in comparisons if c.swapped]
    agreed = sum(not c.inconsistent for c in swapped)
    consistent = wilson(agreed, len(swapped)) if swapped else None
    return {"first": mean(games), "consistent": consistent}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean of shares, in percent, with a normal 95 % interval."""
    count, value = len(values), sum(values) / len(values)
    spread = sum((v - value) ** 2 for v in values) / max(1, count - 1)
    reach = NORMAL * math.sqrt(spread / count)
    low, high = max(0.0, value - reach), min(1.0, value + reach)
    return {"value": 100 * value, "low": 100 * low, "high": 100 * high, "n": count}


def wilson(found: int, count: int) -> dict[str, Any]:
    """Return a share in percent with Wilson's 95 % interval (JASA 22, 1927)."""
    share, square = found / count, NORMAL**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    root = math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    reach = NORMAL * root / (1 + square / count)
    low, high = max(0.0, middle - reach), min(1.0, middle + reach)
    return {"value": 100 * share, "low": 100 * low, "high": 100 * high, "n": count}
