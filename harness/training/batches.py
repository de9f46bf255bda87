"""Token rows: what the scorer reads. A row is a prompt followed by one response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.seeds import derive

Row = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows side by side, padded on the right, where causal attention never looks."""

    token_ids: Tensor
    """int64, shape (rows, width)."""
    response: Tensor
    """bool, shape (rows, width): which positions are the response's."""
    first: int
    """The first column that is any row's response."""

    def to(self, device: torch.device) -> Rows:
        """Return the rows on a device."""
        return Rows(self.token_ids.to(device), self.response.to(device), self.first)


def rows(items: Sequence[Row]) -> Rows:
    """Lay (prompt, response) token sequences side by side."""
    width = max(len(prompt) + len(response) for prompt, response in items)
    token_ids = np.zeros((len(items), width), dtype=np.int64)
    response = np.zeros((len(items), width), dtype=bool)
    for i, (start, end) in enumerate(items):
        token_ids[i, : len(start)] = start
        token_ids[i, len(start) : len(start) + len(end)] = end
        response[i, len(start) : len(start) + len(end)] = True
    first = min(len(prompt) for prompt, _ in items)
    return Rows(torch.from_numpy(token_ids), torch.from_numpy(response), first)


def shuffled(count: int, size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Yield the indices of an epoch's optimiser steps; the last step holds what is left."""
    order = np.random.default_rng(derive(seed, "order", epoch)).permutation(count)
    for start in range(0, count, size):
        yield [int(i) for i in order[start : start + size]]


def by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Yield indices, `size` at a time, such that neighbours are alike in length."""
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    for start in range(0, len(order), size):
        yield order[start : start + size]
