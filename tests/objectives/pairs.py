"""Batches of pairs with numbers that a test writes out."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from harness.types import Logps, PairBatch


def both(chosen: float | list[float], rejected: float | list[float]) -> Logps:
    """Two columns in float64."""
    return Logps(*(torch.tensor(c, dtype=torch.float64).reshape(-1) for c in (chosen, rejected)))


def pairs(
    policy: tuple[float, float],
    *,
    lengths: tuple[float, float] = (1.0, 1.0),
    win_rates: tuple[float, float] = (1.0, 0.0),
    **anchors: tuple[float, float],
) -> PairBatch:
    """One pair; an underscore in an anchor's name stands for a hyphen."""
    by_name = {name.replace("_", "-"): both(*values) for name, values in anchors.items()}
    certain = torch.ones(1, dtype=torch.float64)
    return PairBatch(both(*policy), by_name, both(*lengths), certain, both(*win_rates))


def drawn(count: int, seed: int = 0) -> PairBatch:
    """Pairs with random log-probabilities, lengths and win rates, and three previous policies."""
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Logps:
        return Logps(*torch.randn(2, count, dtype=torch.float64, generator=generator))

    names = ("reference", "previous", "previous-2", "previous-3")
    anchors: Mapping[str, Logps] = {name: draw() for name in names}
    lengths = Logps(*torch.randint(1, 9, (2, count), generator=generator).double())
    rates = Logps(*torch.rand(2, count, dtype=torch.float64, generator=generator))
    certain = torch.ones(count, dtype=torch.float64)
    alternating = torch.arange(count, dtype=torch.float64) % 2
    samplers = {
        "policy": Logps(alternating, 1 - alternating),
        "reference": Logps(1 - alternating, alternating),
    }
    policy, rewards = draw(), draw()
    return PairBatch(policy, anchors, lengths, certain, rates, rewards, samplers)
