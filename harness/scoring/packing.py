"""Packed rows: token sequences end to end, without padding, each prompt once for its responses.

A row is a prompt with the responses that share it, laid out `[prompt | chosen | rejected]`; the
positions of every response continue the prompt's. Rows are packed first-fit decreasing under a
budget of tokens, which is a pure function of their lengths and their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from harness.errors import CheckError

Tokens = Sequence[int]
Row = tuple[Tokens, tuple[Tokens, ...]]
"""A prompt, and the responses that share it."""


@dataclass(frozen=True, slots=True)
class Span:
    """The position of a row in a pack, in tokens."""

    start: int
    prompt: int
    responses: tuple[int, ...]

    @property
    def width(self) -> int:
        """The length of the row."""
        return self.prompt + sum(self.responses)


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Rows end to end, `n` tokens in all, with `s` responses (sequences) of `m` tokens in all."""

    token_ids: Tensor
    """int64, shape (1, n)."""
    positions: Tensor
    """int64, shape (1, n): a token's position in its own sequence, prompt included."""
    predictors: Tensor
    """int64, shape (m,): the index of the token whose hidden state predicts each response token."""
    targets: Tensor
    """int64, shape (m,): the response tokens."""
    sequence_ids: Tensor
    """int64, shape (m,): the index of each response token's sequence."""
    ends: Tensor
    """int64, shape (s,): the index of the last token of every sequence."""
    spans: tuple[Span, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens, n."""
        return self.token_ids.shape[1]

    @property
    def sequences(self) -> int:
        """The number of responses, s."""
        return len(self.ends)

    def to(self, device: torch.device | str) -> PackedBatch:
        """Return the pack on a device."""
        names = ("token_ids", "positions", "predictors", "targets", "sequence_ids", "ends")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


def pack(rows: Sequence[Row]) -> PackedBatch:
    """Return rows as a pack; its sequences keep the order of the rows and of their responses.

    Raises:
        CheckError: a prompt or a response has no token.
    """
    token_ids: list[int] = []
    positions: list[int] = []
    predictors: list[int] = []
    targets: list[int] = []
    lengths: list[int] = []
    ends: list[int] = []
    spans: list[Span] = []
    for number, (prompt, responses) in enumerate(rows):
        if not (prompt and responses and all(responses)):
            raise CheckError(f"row {number} has an empty prompt or response: leave it out")
        span = Span(len(token_ids), len(prompt), tuple(len(r) for r in responses))
        spans.append(span)
        token_ids += prompt
        positions += range(len(prompt))
        for response in responses:
            first = len(token_ids)
            predictors += (span.start + len(prompt) - 1, *range(first, first + len(response) - 1))
            targets += response
            token_ids += response
            positions += range(len(prompt), len(prompt) + len(response))
            lengths.append(len(response))
            ends.append(len(token_ids) - 1)
    return PackedBatch(
        token_ids=torch.tensor(token_ids)[None],
        positions=torch.tensor(positions)[None],
        predictors=torch.tensor(predictors),
        targets=torch.tensor(targets),
        sequence_ids=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
        ends=torch.tensor(ends),
        spans=tuple(spans),
    )


def row_size(row: Row) -> int:
    """Return the tokens that a row takes in a pack."""
    prompt, responses = row
    return len(prompt) + sum(map(len, responses))


def first_fit_decreasing(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Return the indices of the items in each pack, first-fit decreasing.

    Args:
        sizes: the items' sizes in tokens.
        budget: the most tokens per pack; a larger item has a pack to itself.

    Returns:
        The packs; within each, larger items come first.
    """
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    remaining = np.full(len(sizes), budget)
    packs: list[list[int]] = []
    for i in order:
        bin_index = (
            min(len(packs), int(np.argmax(remaining >= sizes[i]))) if sizes[i] <= budget else -1
        )
        if bin_index < 0 or bin_index == len(packs):
            bin_index = len(packs)
            packs.append([])
        packs[bin_index].append(i)
        remaining[bin_index] -= sizes[i]
    return packs


def split_by_budget(items: Sequence[int], sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Return items in packs of at most `budget` tokens; `sizes` is indexed by item."""
    packs = first_fit_decreasing([sizes[i] for i in items], budget)
    return [[items[index] for index in pack] for pack in packs]


def packs_of_rank(packs: Sequence[Sequence[int]], rank: int, world: int) -> list[Sequence[int]]:
    """Return a rank's packs, the same number for every rank: the last may be empty."""
    rounds = -(-len(packs) // world)
    own: list[Sequence[int]] = list(packs[rank::world])
    return own + [()] * (rounds - len(own))
