"""Token rows for a model: alike in length side by side, padded on the left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Row = Sequence[int]
Item = TypeVar("Item")
Told = TypeVar("Told")


def in_batches(
    items: Sequence[Item],
    size: int,
    answer: Callable[[Sequence[Item]], Sequence[Told]],
    length: Callable[[Item], int],
) -> Iterator[tuple[int, Told]]:
    """Yield (place, answer) of every item, `size` of them asked at a time, the shortest first."""
    order = sorted(range(len(items)), key=lambda i: length(items[i]))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        yield from zip(part, answer([items[i] for i in part]), strict=True)


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
