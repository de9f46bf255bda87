"""Which items each optimiser step trains on, and which are only looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.seeds import derive


def steps(count: int, batch: int, seed: int, epochs: int) -> list[list[int]]:
    """Return the items of every optimiser step; an epoch's last step holds what is left."""
    return [step for epoch in range(epochs) for step in shuffled(count, batch, seed, epoch)]


def shuffled(count: int, batch: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Yield the items of an epoch's optimiser steps, in an order made of (seed, epoch) alone."""
    order = np.random.default_rng(derive(seed, "order", epoch)).permutation(count)
    for start in range(0, count, batch):
        yield [int(i) for i in order[start : start + batch]]


def held_out(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Return the items that are trained on and those that are only looked at, each in order."""
    order = np.random.default_rng(derive(seed, "held out")).permutation(count)
    out = round(share * count)
    return sorted(int(i) for i in order[out:]), sorted(int(i) for i in order[:out])
