"""The language-model head on chosen positions only, a tile of rows at a time.

The logits of a tile are thrown away once its log-probabilities are known and made again for the
gradient, so that memory holds one tile and never (positions × vocabulary). Softmax and the sums of
the weight's gradient are float32 whatever the states and the weight are in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TILE = 2**22
"""Logits in a tile on a processor, where a tile should stay near the cache."""
ROWS = 2048
"""Rows in a tile on an accelerator, where few large products are quicker."""


@dataclass(frozen=True, slots=True)
class Head:
    """How a model's head makes logits, besides its weight."""

    softcap: float | None = None
    """logits → softcap · tanh(logits / softcap), as Gemma 2 does."""

    def logits(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return float32 logits, shape (rows, vocabulary)."""
        told = torch.mm(hidden, weight.T).float()
        if bias is not None:
            told += bias.float()
        if self.softcap is not None:
            told.div_(self.softcap).tanh_().mul_(self.softcap)
        return told


def token_logps(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, head: Head
) -> Tensor:
    """Return log softmax(head(hidden))[target], in nats, float32, shape (m,).

    Args:
        hidden: shape (m, width).
        weight: shape (vocabulary, width).
        bias: shape (vocabulary,), or None.
        targets: int64, shape (m,).
        head: how logits are made of these.
    """
    told: Tensor = _TokenLogps.apply(hidden, weight, bias, targets, head)
    return told


def token_entropies(hidden: Tensor, weight: Tensor, bias: Tensor | None, head: Head) -> Tensor:
    """Return the entropy of softmax(head(hidden)), in nats, float32, shape (m,); no gradient."""
    told = []
    for rows in _tiles(len(hidden), tile_rows(len(weight), hidden.device)):
        logps = torch.log_softmax(head.logits(hidden[rows], weight, bias), -1)
        told.append(-(logps.exp() * logps).sum(-1))
    return torch.cat(told)


def tile_rows(vocabulary: int, device: torch.device) -> int:
    """Return how many positions share a tile."""
    return ROWS if device.type != "cpu" else max(64, TILE // vocabulary)


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, head: Head
    ) -> Tensor:
        told = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        spread = torch.empty_like(told)
        for rows in _tiles(len(targets), tile_rows(len(weight), hidden.device)):
            logits = head.logits(hidden[rows], weight, bias)
            spread[rows] = torch.logsumexp(logits, -1)
            told[rows] = logits.gather(-1, targets[rows, None]).squeeze(-1) - spread[rows]
        ctx.save_for_backward(hidden, weight, bias, targets, spread)
        ctx.head = head
        return told

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, spread = ctx.saved_tensors
        head, needed = ctx.head, ctx.needs_input_grad
        to_hidden = torch.empty_like(hidden)
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if needed[1] else None
        to_bias = torch.zeros_like(bias, dtype=torch.float32) if needed[2] else None
        for rows in _tiles(len(targets), tile_rows(len(weight), hidden.device)):
            logits = head.logits(hidden[rows], weight, bias)
            slopes = _to_logits(logits, spread[rows], targets[rows], slope[rows], head)
            to_hidden[rows] = torch.mm(slopes.to(weight.dtype), weight)
            if to_weight is not None:
                _accumulate(to_weight, slopes.to(weight.dtype), hidden[rows])
            if to_bias is not None:
                to_bias += slopes.sum(0)
        return to_hidden, to_weight, to_bias, None, None


def _to_logits(
    logits: Tensor, spread: Tensor, targets: Tensor, slope: Tensor, head: Head
) -> Tensor:
    """Turn a tile's logits, in place, into the loss's gradient with respect to the raw logits."""
    bend = None if head.softcap is None else 1 - (logits / head.softcap).square_()
    logits.sub_(spread[:, None]).exp_().mul_(-slope[:, None])
    logits.scatter_add_(-1, targets[:, None], slope[:, None])
    return logits if bend is None else logits.mul_(bend)


def _accumulate(total: Tensor, slopes: Tensor, hidden: Tensor) -> None:
    """Add slopesᵀ · hidden to a float32 sum."""
    if slopes.dtype == torch.float32:
        total.addmm_(slopes.T, hidden)
    else:
        total.add_(torch.mm(slopes.T, hidden))


def _tiles(count: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]
