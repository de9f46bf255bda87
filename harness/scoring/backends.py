"""Which way of attending a device takes: flash attention where it does as the plain way does."""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import Tensor

from harness.scoring import attention
from harness.scoring.packing import Packed, pack

HALF = (torch.bfloat16, torch.float16)
HEADS, KEY_HEADS = 4, 2
APART = 0.02
"""Largest difference from the plain way, as a share of it; bfloat16 has three digits."""
Slopes = tuple[Tensor, ...]


def choose(device: torch.device, dtype: torch.dtype, width: int) -> attention.Backend:
    """Return the backend for a device and a type, with heads of that width."""
    if device.type != "cuda" or dtype not in HALF:
        return "rows"
    return "varlen" if fits("varlen", str(device), dtype, width) else "rows"


@lru_cache
def fits(backend: attention.Backend, device: str, dtype: torch.dtype, width: int) -> bool:
    """Say whether a backend gives what `rows` gives on a device, and the same gradients.

    The probe has prompts with two responses and a document longer than its queries, which is where
    a kernel could align its causal mask otherwise than is needed.
    """
    packed = pack([((0,) * 37, ((0,) * 150, (0,) * 61)), ((0,) * 5, ((0,) * 3, (0,) * 90))])
    try:
        told = probed(packed.to(device), backend, dtype, width)
    except (RuntimeError, NotImplementedError, ImportError, TypeError) as error:
        return _not(backend, device, str(error).partition("\n")[0])
    plain = probed(packed.to(device), "rows", dtype, width)
    apart = max(float((a - b).norm() / b.norm()) for a, b in zip(told, plain, strict=True))
    return apart <= APART or _not(backend, device, f"{apart:.2g} apart from the plain way")


def probed(packed: Packed, backend: attention.Backend, dtype: torch.dtype, width: int) -> Slopes:
    """Return what attention gives on a pack of random states, and its gradients, in float32."""
    drawn = torch.Generator().manual_seed(0)
    states = [
        torch.randn(1, heads, packed.tokens, width, generator=drawn)
        .to(packed.token_ids.device, dtype)
        .requires_grad_()
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]
    layout = attention.layout(packed, backend)
    told, _ = attention.attend(None, *states, None, packed=layout)
    weights = torch.linspace(-1, 1, told.numel(), device=told.device).view_as(told)
    (told * weights).sum().backward()
    slopes = [state.grad for state in states if state.grad is not None]
    return tuple(x.detach().float() for x in (told, *slopes))


def _not(backend: str, device: str, why: str) -> bool:
    """Say once that a backend is not used."""
    logging.getLogger(__name__).warning(
        "attention on %s is computed row by row, which is slower: %s does not fit (%s)",
        *(device, backend, why),
    )
    return False
