"""Attention over packed rows: a response sees its prompt and itself, not the other responses.

It is registered with transformers as the implementation `packed`, which receives a pack's layout as
a keyword. Three backends compute the same:

- `rows`, torch's scaled dot product attention, on any device. Long rows take one call for
  [prompt | first response] and one for each further response against [prompt | itself]; short rows
  are padded into one call with a mask, since there the calls cost more than the padding.
- `varlen`, on CUDA in half precision: one call of flash attention for all responses of the pack,
  with the prompt's keys and values gathered for each. It is used on a device only after it has
  given the same result as `rows` on a probe.
- `dense`, one mask over the whole pack, quadratic in its size: for tests.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.scoring.packing import PackedBatch, Span, pack

NAME = "packed"
MAX_SHORT_WIDTH = 128
"""The most tokens of a row that is padded into a block; measured on a CPU."""
Backend = Literal["rows", "varlen", "dense"]
HALF_PRECISION = (torch.bfloat16, torch.float16)
PROBE_HEADS, PROBE_KEY_HEADS = 4, 2
MAX_DIFFERENCE = 0.02
"""Largest relative difference from `rows` on the probe; bfloat16 has three significant digits."""
Gradients = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class PaddedBlock:
    """Short rows as a padded block of b rows and w columns."""

    token_indices: Tensor
    """int64, shape (b·w,): the pack's token in each slot of the block; 0 in an empty slot."""
    slot_indices: Tensor
    """int64, shape (tokens of the short rows,): the slot of each token, in the pack's order."""
    allowed: Tensor
    """bool, shape (b, 1, w, w): which keys (last axis) each query sees."""
    positions: Tensor
    """int64, shape (b, 1, w)."""


@dataclass(frozen=True, slots=True)
class Varlen:
    """One document per response: its queries, and the keys that they see."""

    keys: Tensor
    """int64: the index of every key in the pack."""
    query_starts: Tensor
    key_starts: Tensor
    longest_query: int
    longest_key: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A pack's layout, as attention needs it."""

    spans: tuple[Span, ...]
    """The long rows, which come first in a pack."""
    short: PaddedBlock | None
    varlen: Varlen | None = None
    dense: Tensor | None = None
    """bool, shape (1, 1, n, n)."""
    positions: Tensor | None = None
    """int64, shape (1, 1, n), with `dense`."""


def build_layout(packed: PackedBatch, backend: Backend) -> Layout:
    """Return the layout of a pack, which all layers share."""
    device = packed.token_ids.device
    match backend:
        case "varlen":
            return Layout(packed.spans, None, varlen=_varlen_documents(packed.spans, device))
        case "dense":
            mask = visibility_mask(packed.spans, packed.tokens).to(device)
            return Layout(packed.spans, None, dense=mask, positions=packed.positions[:, None])
    spans = packed.spans
    long = next((i for i, s in enumerate(spans) if _all_short(spans[i:])), len(spans))
    return Layout(spans[:long], _padded_block(spans[long:], device) if spans[long:] else None)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    packed: Layout | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Attend through transformers' interface: (1, heads, n, width) → (1, n, heads, width).

    Dropout is ignored, so that the policy in training is scored like the frozen ones.

    Raises:
        TypeError: there is no layout.
    """
    if packed is None:
        raise TypeError("packed attention needs the pack's layout: score through Scorer")
    query, key = query.to(value.dtype), key.to(value.dtype)
    rule = AttentionRule(scaling, sliding_window, softcap)
    if packed.varlen is not None and softcap is None:
        return _attend_varlen(query, key, value, rule, packed.varlen)[None], None
    if packed.dense is not None:
        mask = rule.within_window(packed.dense, packed.positions)
        return rule.attend_masked(query, key, value, mask).transpose(1, 2).contiguous(), None
    parts = [part for span in packed.spans for part in _attend_row(query, key, value, span, rule)]
    if packed.short is not None:
        parts.append(_attend_block(query, key, value, packed.short, rule))
    return torch.cat(parts, 2).transpose(1, 2).contiguous(), None  # some models only `view` it


@dataclass(frozen=True, slots=True)
class AttentionRule:
    """The settings of a layer's attention besides its mask."""

    scaling: float | None
    window: int | None
    """The last tokens of its sequence that a token sees, itself included; None: all."""
    softcap: float | None

    def attend_causal(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend causally; the queries are those of the last keys."""
        new, all_ = query.shape[2], key.shape[2]
        is_windowed = self.window is not None and self.window < all_
        if new == all_ and not is_windowed and self.softcap is None:
            return self._sdpa(query, key, value, None)
        mask = torch.ones(new, all_, dtype=torch.bool, device=query.device).tril(all_ - new)
        if is_windowed:
            mask = mask.triu(all_ - new - (self.window or 0) + 1)
        return self.attend_masked(query, key, value, mask)

    def within_window(self, mask: Tensor, positions: Tensor | None) -> Tensor:
        """Restrict a mask, shape (..., w, w), to the window; positions have shape (..., w)."""
        if self.window is None or positions is None:
            return mask
        return mask & (positions[..., :, None] - positions[..., None, :] < self.window)

    def attend_masked(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend where the mask is true."""
        if self.softcap is None:
            return self._sdpa(query, key, value, mask)
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scale = self.scaling if self.scaling is not None else query.shape[-1] ** -0.5
        scores = (query @ key.transpose(-1, -2)).float() * scale
        scores = self.softcap * torch.tanh(scores / self.softcap)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        return weights.to(value.dtype) @ value

    def _sdpa(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None,
            scale=self.scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )


def visibility_mask(spans: Sequence[Span], tokens: int) -> Tensor:
    """Return a pack's mask without sliding windows, bool, shape (1, 1, n, n)."""
    mask = torch.zeros(tokens, tokens, dtype=torch.bool)
    for span in spans:
        mask[span.start : span.start + span.width, span.start : span.start + span.width] = (
            _tree_mask(span)
        )
    return mask[None, None]


def _attend_row(
    query: Tensor, key: Tensor, value: Tensor, span: Span, rule: AttentionRule
) -> Iterator[Tensor]:
    """Yield the output of a row: the prompt with the first response, then the other responses."""
    prompt_end = span.start + span.prompt
    first_end = prompt_end + span.responses[0]
    prompt_and_first = slice(span.start, first_end)
    yield rule.attend_causal(
        query[:, :, prompt_and_first], key[:, :, prompt_and_first], value[:, :, prompt_and_first]
    )
    start = first_end
    for length in span.responses[1:]:
        end = start + length
        keys, values = (
            torch.cat([x[:, :, span.start : prompt_end], x[:, :, start:end]], 2)
            for x in (key, value)
        )
        yield rule.attend_causal(query[:, :, start:end], keys, values)
        start = end


def _attend_block(
    query: Tensor, key: Tensor, value: Tensor, block: PaddedBlock, rule: AttentionRule
) -> Tensor:
    rows, _, width, _ = block.allowed.shape

    def gather(x: Tensor) -> Tensor:
        selected = x[0].index_select(1, block.token_indices)
        return selected.view(x.shape[1], rows, width, x.shape[3]).transpose(0, 1)

    mask = rule.within_window(block.allowed, block.positions)
    out = rule.attend_masked(gather(query), gather(key), gather(value), mask)
    flat = out.transpose(0, 1).reshape(query.shape[1], rows * width, -1)
    return flat.index_select(1, block.slot_indices)[None]


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, rule: AttentionRule, documents: Varlen
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    def flat(x: Tensor) -> Tensor:
        return x[0].transpose(0, 1)

    return varlen_attn(  # type: ignore[return-value]
        flat(query).contiguous(),
        flat(key).index_select(0, documents.keys),
        flat(value).index_select(0, documents.keys),
        documents.query_starts,
        documents.key_starts,
        documents.longest_query,
        documents.longest_key,
        scale=rule.scaling,
        window_size=(rule.window - 1 if rule.window is not None else -1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _all_short(spans: Sequence[Span]) -> bool:
    return all(span.width <= MAX_SHORT_WIDTH for span in spans)


def _padded_block(spans: Sequence[Span], device: torch.device) -> PaddedBlock:
    width = max(span.width for span in spans)
    token_indices = torch.zeros(len(spans), width, dtype=torch.int64)
    allowed = torch.zeros(len(spans), 1, width, width, dtype=torch.bool)
    allowed[..., 0] = True  # an empty slot must see some key, or its softmax is NaN
    positions = torch.zeros(len(spans), 1, width, dtype=torch.int64)
    slot_indices = []
    for i, span in enumerate(spans):
        token_indices[i, : span.width] = torch.arange(span.start, span.start + span.width)
        allowed[i, 0, : span.width, : span.width] = _tree_mask(span)
        positions[i, 0, : span.width] = torch.cat(list(_row_positions(span)))
        slot_indices.append(torch.arange(i * width, i * width + span.width))
    flat = token_indices.flatten().to(device), torch.cat(slot_indices).to(device)
    return PaddedBlock(*flat, allowed.to(device), positions.to(device))


def _row_positions(span: Span) -> Iterator[Tensor]:
    yield torch.arange(span.prompt)
    for length in span.responses:
        yield torch.arange(span.prompt, span.prompt + length)


def _tree_mask(span: Span) -> Tensor:
    """Return a row's mask, bool, shape (width, width)."""
    mask = torch.ones(span.width, span.width, dtype=torch.bool).tril()
    start = span.prompt
    for length in span.responses:
        mask[start + length :, start : start + length] = False
        start += length
    return mask


def _varlen_documents(spans: Sequence[Span], device: torch.device) -> Varlen:
    keys: list[Tensor] = []
    queries: list[int] = []
    for span in spans:
        prompt = torch.arange(span.start, span.start + span.prompt)
        start = span.start + span.prompt
        for number, length in enumerate(span.responses):
            keys.append(torch.cat([prompt, torch.arange(start, start + length)]))
            queries.append(length if number else span.prompt + length)
            start += length
    lengths = [len(k) for k in keys]
    return Varlen(
        torch.cat(keys).to(device),
        _document_starts(queries).to(device),
        _document_starts(lengths).to(device),
        max(queries),
        max(lengths),
    )


def _document_starts(lengths: Sequence[int]) -> Tensor:
    """Return the start of each document, and the end of the last, int32."""
    return F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).to(torch.int32)


def choose_backend(device: torch.device, dtype: torch.dtype, width: int) -> Backend:
    """Return the fastest backend that is exact on a device, for a type and a width of heads."""
    if device.type != "cuda" or dtype not in HALF_PRECISION:
        return "rows"
    return "varlen" if matches_rows("varlen", str(device), dtype, width) else "rows"


@lru_cache
def matches_rows(backend: Backend, device: str, dtype: torch.dtype, width: int) -> bool:
    """Return whether a backend agrees with `rows` on a device, gradients included.

    The probe has prompts with two responses, and documents with more keys than queries, for which a
    kernel might align its causal mask at the wrong corner.
    """
    packed = pack([((0,) * 37, ((0,) * 150, (0,) * 61)), ((0,) * 5, ((0,) * 3, (0,) * 90))])
    try:
        tested = probe(packed.to(device), backend, dtype, width)
    except (RuntimeError, NotImplementedError, ImportError, TypeError) as error:
        return _reject(backend, device, str(error).partition("\n")[0])
    expected = probe(packed.to(device), "rows", dtype, width)
    difference = max(
        float((a - b).norm() / b.norm()) for a, b in zip(tested, expected, strict=True)
    )
    return difference <= MAX_DIFFERENCE or _reject(
        backend, device, f"its result differs by {difference:.2g} of the norm"
    )


def probe(packed: PackedBatch, backend: Backend, dtype: torch.dtype, width: int) -> Gradients:
    """Return attention's output on random states and its gradients, in float32."""
    generator = torch.Generator().manual_seed(0)
    states = [
        torch.randn(1, heads, packed.tokens, width, generator=generator)
        .to(packed.token_ids.device, dtype)
        .requires_grad_()
        for heads in (PROBE_HEADS, PROBE_KEY_HEADS, PROBE_KEY_HEADS)
    ]
    layout = build_layout(packed, backend)
    output, _ = attend(None, *states, None, packed=layout)
    weights = torch.linspace(-1, 1, output.numel(), device=output.device).view_as(output)
    (output * weights).sum().backward()
    gradients = [state.grad for state in states if state.grad is not None]
    return tuple(x.detach().float() for x in (output, *gradients))


def _reject(backend: str, device: str, why: str) -> bool:
    logging.getLogger(__name__).warning(
        "attention on %s is computed row by row, which is slower: %s does not fit (%s)",
        *(device, backend, why),
    )
    return False
