"""Each item's contribution to a ratio of sums, so that paired tests can treat it as a mean."""

from __future__ import annotations

from collections.abc import Sequence


def ratio_contributions(points: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return each item's contribution to sum(points) / sum(weights); their mean is that ratio.

    The contribution of an item is R + (points - R weight) / (mean weight), R the ratio: the ratio
    plus the item's influence on it, so that the variance of the mean is the ratio's to first order.
    With equal weights it is the item's own points by weight.

    Raises:
        ZeroDivisionError: the weights sum to 0.
    """
    total = sum(weights)
    ratio, mean_weight = sum(points) / total, total / len(weights)
    pairs = zip(points, weights, strict=True)
    return [ratio + (point - ratio * weight) / mean_weight for point, weight in pairs]
