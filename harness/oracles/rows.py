"""Token rows for a model: alike in length side by side, padded on the left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.protocols import Advance
from harness.types import Comparison

if TYPE_CHECKING:
    from torch import Tensor

Row = Sequence[int]


def in_both_orders(
    comparisons: Sequence[Comparison],
    row: Callable[[Comparison], Row],
    first_wins: Callable[[Sequence[Row]], Sequence[float]],
    size: int,
    advance: Advance,
) -> list[float]:
    """Return P(first preferred) of each comparison, in [0, 1], the mean over both of its orders.

    Args:
        comparisons: what is asked; each is asked as it is and swapped.
        row: renders one order.
        first_wins: answers rows that are asked together.
        size: how many rows are, the shortest first.
        advance: told of every comparison.
    """
    rows = [row(c) for comparison in comparisons for c in (comparison, comparison.swap())]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    told = [0.0] * len(rows)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        for place, value in zip(part, first_wins([rows[i] for i in part]), strict=True):
            told[place] = value
        advance((start + len(part)) // 2 - start // 2)
    return [(a + 1 - b) / 2 for a, b in zip(told[::2], told[1::2], strict=True)]


def padded(rows: Sequence[Row], pad: int = 0) -> dict[str, Tensor]:
    """Return a model's inputs with every row's last token in the last column.

    Positions count from a row's own first token, so that padding changes nothing.
    """
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
