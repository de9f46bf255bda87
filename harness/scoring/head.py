"""The language-model head at selected positions, one tile of rows at a time.

The logits of a tile are discarded once its log-probabilities are computed, and recomputed for the
gradient, so that memory holds one tile, never (positions × vocabulary). The softmax and the sums of
the weight's gradient are float32, whatever the type of the states and the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TILE_LOGITS = 2**22
"""Logits in a tile on a CPU, where a tile should fit in the cache."""
TILE_ROWS = 2048
"""Rows in a tile on an accelerator, where few large products are faster."""


@dataclass(frozen=True, slots=True)
class Head:
    """The settings of a model's head besides its weight."""

    softcap: float | None = None
    """logits → softcap · tanh(logits / softcap), as Gemma 2 does."""
    scale: float = 1.0
    """A factor of the logits, as Granite and Cohere have one; it is applied before the softcap."""

    def logits(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return float32 logits, shape (rows, vocabulary)."""
        logits = torch.mm(hidden, weight.T).float()
        if bias is not None:
            logits += bias.float()
        if self.scale != 1:
            logits.mul_(self.scale)
        if self.softcap is not None:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits


def token_logps(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, head: Head
) -> Tensor:
    """Return log softmax(head(hidden))[target], in nats, float32, shape (m,).

    Args:
        hidden: shape (m, width).
        weight: shape (vocabulary, width).
        bias: shape (vocabulary,), or None.
        targets: int64, shape (m,).
        head: the settings of the head.
    """
    logps: Tensor = _TokenLogps.apply(hidden, weight, bias, targets, head)
    return logps


def token_entropies(hidden: Tensor, weight: Tensor, bias: Tensor | None, head: Head) -> Tensor:
    """Return the entropy of softmax(head(hidden)), in nats, float32, shape (m,); no gradient."""
    entropies = []
    for rows in _tiles(len(hidden), tile_rows(len(weight), hidden.device)):
        logps = torch.log_softmax(head.logits(hidden[rows], weight, bias), -1)
        entropies.append(-(logps.exp() * logps).sum(-1))
    return torch.cat(entropies)


def tile_rows(vocabulary: int, device: torch.device) -> int:
    """Return how many positions share a tile."""
    return TILE_ROWS if device.type != "cpu" else max(64, TILE_LOGITS // vocabulary)


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, head: Head
    ) -> Tensor:
        logps = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        log_normalizers = torch.empty_like(logps)
        for rows in _tiles(len(targets), tile_rows(len(weight), hidden.device)):
            logits = head.logits(hidden[rows], weight, bias)
            log_normalizers[rows] = torch.logsumexp(logits, -1)
            logps[rows] = logits.gather(-1, targets[rows, None]).squeeze(-1) - log_normalizers[rows]
        ctx.save_for_backward(hidden, weight, bias, targets, log_normalizers)
        ctx.head = head
        return logps

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, log_normalizers = ctx.saved_tensors
        head, needs_gradient = ctx.head, ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_gradient[1] else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if needs_gradient[2] else None
        for rows in _tiles(len(targets), tile_rows(len(weight), hidden.device)):
            logits = head.logits(hidden[rows], weight, bias)
            grad_logits = _logit_gradients(
                logits, log_normalizers[rows], targets[rows], grad_output[rows], head
            )
            grad_hidden[rows] = torch.mm(grad_logits.to(weight.dtype), weight)
            if grad_weight is not None:
                _accumulate(grad_weight, grad_logits.to(weight.dtype), hidden[rows])
            if grad_bias is not None:
                grad_bias += grad_logits.sum(0)
        return grad_hidden, grad_weight, grad_bias, None, None


def _logit_gradients(
    logits: Tensor, log_normalizers: Tensor, targets: Tensor, grad_output: Tensor, head: Head
) -> Tensor:
    """Turn a tile's logits, in place, into the loss's gradient with respect to the raw logits."""
    softcap_derivative = None if head.softcap is None else 1 - (logits / head.softcap).square_()
    logits.sub_(log_normalizers[:, None]).exp_().mul_(-grad_output[:, None])
    logits.scatter_add_(-1, targets[:, None], grad_output[:, None])
    if softcap_derivative is not None:
        logits.mul_(softcap_derivative)
    return logits if head.scale == 1 else logits.mul_(head.scale)


def _accumulate(total: Tensor, gradients: Tensor, hidden: Tensor) -> None:
    """Add gradientsᵀ · hidden to a float32 sum."""
    if gradients.dtype == torch.float32:
        total.addmm_(gradients.T, hidden)
    else:
        total.add_(torch.mm(gradients.T, hidden))


def _tiles(count: int, rows: int) -> list[slice]:
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]
