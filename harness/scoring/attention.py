"""Attention over packed rows: a response sees its prompt and itself, never its sibling.

Registered with transformers as the implementation `packed`; the layout travels as a keyword. Three
ways compute the same:

- by row, with torch's scaled dot product attention, on any device. Long rows take one call for
  [prompt | first response] and one for each further response against [prompt | itself]; short rows
  are set side by side in one call with a mask, since there the calls cost more than the padding.
- varlen, on CUDA in half precision: one call of flash attention for all responses of the pack,
  prompts' keys and values gathered for each. Held against the first when a device is first used.
- dense, one mask over the whole pack: quadratic in the pack, the tests' oracle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.scoring.packing import Packed, Span

NAME = "packed"
SHORT = 128
"""Rows of at most so many tokens are set side by side; measured on a processor."""
Backend = Literal["rows", "varlen", "dense"]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Short rows as a padded block: b rows of w tokens."""

    slots: Tensor
    """int64, shape (b·w,): the pack's token in each place of the block; 0 where there is none."""
    back: Tensor
    """int64, shape (tokens of the short rows,): the place of each, in the pack's order."""
    allowed: Tensor
    """bool, shape (b, 1, w, w): who sees whom."""
    positions: Tensor
    """int64, shape (b, 1, w)."""


@dataclass(frozen=True, slots=True)
class Varlen:
    """One document a response: its queries, and the keys that they see."""

    keys: Tensor
    """int64: the pack's token of every key."""
    query_starts: Tensor
    key_starts: Tensor
    longest_query: int
    longest_key: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What attention needs to know of a pack."""

    spans: tuple[Span, ...]
    """The long rows, which come first in a pack."""
    short: SideBySide | None
    varlen: Varlen | None = None
    dense: Tensor | None = None
    """bool, shape (1, 1, n, n)."""
    positions: Tensor | None = None
    """int64, shape (1, 1, n), with `dense`."""


def layout(packed: Packed, backend: Backend) -> Layout:
    """Prepare a pack's attention, once for all layers."""
    device = packed.token_ids.device
    match backend:
        case "varlen":
            return Layout(packed.spans, None, varlen=_varlen(packed.spans, device))
        case "dense":
            seen = visible(packed.spans, packed.tokens).to(device)
            return Layout(packed.spans, None, dense=seen, positions=packed.positions[:, None])
    spans = packed.spans
    long = next((i for i, s in enumerate(spans) if _all_short(spans[i:])), len(spans))
    return Layout(spans[:long], _side_by_side(spans[long:], device) if spans[long:] else None)


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
    """Attend as transformers' interface asks: (1, heads, n, width) → (1, n, heads, width).

    Dropout is ignored: a policy that is trained is scored as the frozen one was.
    """
    if packed is None:
        raise TypeError("packed attention needs the pack's layout: score through Scorer")
    query, key = query.to(value.dtype), key.to(value.dtype)
    rule = Rule(scaling, sliding_window, softcap)
    if packed.varlen is not None and softcap is None:
        return _attend_varlen(query, key, value, rule, packed.varlen)[None], None
    if packed.dense is not None:
        seen = rule.near(packed.dense, packed.positions)
        return rule.masked(query, key, value, seen).transpose(1, 2), None
    parts = [part for span in packed.spans for part in _row(query, key, value, span, rule)]
    if packed.short is not None:
        parts.append(_block(query, key, value, packed.short, rule))
    return torch.cat(parts, 2).transpose(1, 2), None


@dataclass(frozen=True, slots=True)
class Rule:
    """How one layer attends, besides who is visible."""

    scaling: float | None
    window: int | None
    """How many of the latest tokens of its sequence a token sees, itself included."""
    softcap: float | None

    def causal(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend where the queries are the last of the keys."""
        new, all_ = query.shape[2], key.shape[2]
        bounded = self.window is not None and self.window < all_
        if new == all_ and not bounded and self.softcap is None:
            return self._sdpa(query, key, value, None)
        seen = torch.ones(new, all_, dtype=torch.bool, device=query.device).tril(all_ - new)
        if bounded:
            seen = seen.triu(all_ - new - (self.window or 0) + 1)
        return self.masked(query, key, value, seen)

    def near(self, seen: Tensor, positions: Tensor | None) -> Tensor:
        """Narrow who sees whom, (..., w, w), to the window, given positions (..., w)."""
        if self.window is None or positions is None:
            return seen
        return seen & (positions[..., :, None] - positions[..., None, :] < self.window)

    def masked(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        """Attend where `seen` is true."""
        if self.softcap is None:
            return self._sdpa(query, key, value, seen)
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        scale = self.scaling if self.scaling is not None else query.shape[-1] ** -0.5
        scores = (query @ key.transpose(-1, -2)).float() * scale
        scores = self.softcap * torch.tanh(scores / self.softcap)
        weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        return weights.to(value.dtype) @ value

    def _sdpa(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=seen,
            is_causal=seen is None,
            scale=self.scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )


def visible(spans: Sequence[Span], tokens: int) -> Tensor:
    """Return who sees whom in a whole pack, bool, shape (1, 1, n, n); sliding windows aside."""
    seen = torch.zeros(tokens, tokens, dtype=torch.bool)
    for span in spans:
        seen[span.start : span.start + span.width, span.start : span.start + span.width] = _tree(
            span
        )
    return seen[None, None]


def _row(query: Tensor, key: Tensor, value: Tensor, span: Span, rule: Rule) -> Iterator[Tensor]:
    """Yield one row's output: with the prompt the first response, then the others."""
    prompt_end = span.start + span.prompt
    first_end = prompt_end + span.responses[0]
    whole = slice(span.start, first_end)
    yield rule.causal(query[:, :, whole], key[:, :, whole], value[:, :, whole])
    start = first_end
    for length in span.responses[1:]:
        end = start + length
        keys, values = (
            torch.cat([x[:, :, span.start : prompt_end], x[:, :, start:end]], 2)
            for x in (key, value)
        )
        yield rule.causal(query[:, :, start:end], keys, values)
        start = end


def _block(query: Tensor, key: Tensor, value: Tensor, block: SideBySide, rule: Rule) -> Tensor:
    rows, _, width, _ = block.allowed.shape

    def gathered(x: Tensor) -> Tensor:
        told = x[0].index_select(1, block.slots)
        return told.view(x.shape[1], rows, width, x.shape[3]).transpose(0, 1)

    seen = rule.near(block.allowed, block.positions)
    out = rule.masked(gathered(query), gathered(key), gathered(value), seen)
    flat = out.transpose(0, 1).reshape(query.shape[1], rows * width, -1)
    return flat.index_select(1, block.back)[None]


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, rule: Rule, documents: Varlen
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
    return all(span.width <= SHORT for span in spans)


def _side_by_side(spans: Sequence[Span], device: torch.device) -> SideBySide:
    width = max(span.width for span in spans)
    slots = torch.zeros(len(spans), width, dtype=torch.int64)
    allowed = torch.zeros(len(spans), 1, width, width, dtype=torch.bool)
    allowed[..., 0] = True  # a place without a token must see something, or its softmax is NaN
    positions = torch.zeros(len(spans), 1, width, dtype=torch.int64)
    back = []
    for i, span in enumerate(spans):
        slots[i, : span.width] = torch.arange(span.start, span.start + span.width)
        allowed[i, 0, : span.width, : span.width] = _tree(span)
        positions[i, 0, : span.width] = torch.cat(list(_positions(span)))
        back.append(torch.arange(i * width, i * width + span.width))
    flat = slots.flatten().to(device), torch.cat(back).to(device)
    return SideBySide(*flat, allowed.to(device), positions.to(device))


def _positions(span: Span) -> Iterator[Tensor]:
    yield torch.arange(span.prompt)
    for length in span.responses:
        yield torch.arange(span.prompt, span.prompt + length)


def _tree(span: Span) -> Tensor:
    """Return who sees whom within a row, bool, shape (width, width)."""
    seen = torch.ones(span.width, span.width, dtype=torch.bool).tril()
    start = span.prompt
    for length in span.responses:
        seen[start + length :, start : start + length] = False
        start += length
    return seen


def _varlen(spans: Sequence[Span], device: torch.device) -> Varlen:
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
        _starts(queries).to(device),
        _starts(lengths).to(device),
        max(queries),
        max(lengths),
    )


def _starts(lengths: Sequence[int]) -> Tensor:
    """Return where each document begins and the last one ends, int32."""
    return F.pad(torch.tensor(lengths).cumsum(0), (1, 0)).to(torch.int32)
