"""Cross-validation folds that no processor and no version of a library changes.

scikit-learn's GroupKFold sorts its groups by size and deals them round robin. Where all groups are
of one size, the order in which a sort leaves equal keys decides who is in which fold; that order
depends on numpy's version, scikit-learn's version and the processor. Here it is written out.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from harness.statistics.resampling import Indices

Order = Literal["stable", "introsort"]
"""How equal keys are left: as they were, or as numpy's scalar quicksort leaves them."""
SHORT = 16
"""Ranges of at most this many equal keys are left alone by the quicksort."""


def folds(n: int, k: int, order: Order = "stable") -> Indices:
    """Return the fold, 0 to k - 1, of each of n groups of one size, shape (n,).

    The groups are dealt from the end of the order; `stable` is what scikit-learn does from 1.9 on.
    """
    ranked = np.arange(n) if order == "stable" else introsorted(n)
    found = np.empty(n, dtype=np.int64)
    found[ranked[::-1]] = np.arange(n) % k
    return found


def introsorted(n: int) -> Indices:
    """Return the order in which a quicksort with a median-of-three pivot leaves n equal keys.

    Element q of the result, shape (n,), is the key that ends at place q. Comparing equal keys never
    moves the bounds by more than one place, so that every partition swaps its range end for end.
    """
    order = np.arange(n, dtype=np.int64)
    ranges = [(0, n - 1)]
    while ranges:
        first, last = ranges.pop()
        if last - first >= SHORT:
            cut = _partition(order, first, last)
            ranges += [(first, cut - 1), (cut + 1, last)]
    return order


def _partition(order: Indices, first: int, last: int) -> int:
    """Partition first..last in place, both included; return the place of the pivot."""
    middle = first + (last - first) // 2
    _swap(order, middle, last - 1)
    left, right = first + 1, last - 2
    while left < right:
        _swap(order, left, right)
        left, right = left + 1, right - 1
    _swap(order, left, last - 1)
    return left


def _swap(order: Indices, one: int, other: int) -> None:
    order[one], order[other] = order[other], order[one]
