"""Hidden states of token rows, by the engine's own scorer: packed, a common beginning read once.

Rows that are about the same prompt begin alike, so that K responses cost one reading of it. A model
that does not fit the packed code is read in padded batches instead; a probe tells which.

Token rows for a model: alike in length side by side, padded on the left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.protocols import Advance
from harness.types import Comparison

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.scoring import packing
    from harness.scoring.scorer import Scorer


PROBE = ((0, 1, 2, 3, 1), (0, 1, 2, 2, 0, 1), (1, 0, 2))
"""Token rows on which a model's packed states are held against its own; two begin alike."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05}
"""Largest difference on the probe, as a share of the state's length."""


@dataclass(frozen=True, slots=True)
class StateRequest:
    """A row, and which of its tokens' states are wanted."""

    row: TokenRow
    group: str
    """Rows that are about the same begin alike."""
    positions: tuple[int, ...]
    """Places in the row."""


def hidden_states(
    model: PreTrainedModel, requests: Sequence[StateRequest], budget: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield (place, last hidden states) of every row, shape (wanted, width), in any order.

    Args:
        model: a transformer with or without a head, in evaluation mode.
        asked: the rows, of two tokens or more each.
        budget: tokens in memory at once; a longer row is taken alone.
    """
    scorer = packed_scorer(model)
    results = (
        _padded_states(model, requests, budget)
        if scorer is None
        else _packed_states(scorer, requests, budget)
    )
    yield from results


def packed_scorer(model: PreTrainedModel) -> Scorer | None:
    """Return the model's scorer; None where its packed states are not its own."""
    from harness.scoring.scorer import Scorer

    requests = [StateRequest(row, str(row[0]), (len(row) - 1,)) for row in PROBE]
    original = model.config._attn_implementation
    model.set_attn_implementation("eager")
    expected = dict(_padded_states(model, requests, 1))
    try:
        scorer = Scorer(model, backend="rows")
        packed = dict(_packed_states(scorer, requests, 64))
    except (ValueError, TypeError, AttributeError):
        packed = {}
    tolerance = TOLERANCE[str(model.dtype).removeprefix("torch.")]
    if packed and all(
        bool((packed[i] - o).norm() <= tolerance * o.norm()) for i, o in expected.items()
    ):
        return Scorer(model)
    model.set_attn_implementation(original)
    return None


def group_rows(
    requests: Sequence[StateRequest], budget: int
) -> list[tuple[packing.Row, list[int]]]:
    """Return rows for packs, each with the places of those that it is made of.

    What is about the same shares its common beginning, and is divided where it exceeds the budget.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, request in enumerate(requests):
        groups[request.group].append(index)
    return [
        entry
        for indices in groups.values()
        for entry in _split_by_budget(requests, indices, budget)
    ]


def _split_by_budget(
    requests: Sequence[StateRequest], indices: Sequence[int], budget: int
) -> Iterator[tuple[packing.Row, list[int]]]:
    rows = {index: list(requests[index].row) for index in indices}
    prefix_length = common_prefix_length(list(rows.values()))
    if not prefix_length:
        yield from (((row[:1], (row[1:],)), [index]) for index, row in rows.items())
        return
    batch: list[int] = []
    tokens = prefix_length
    for index, row in rows.items():
        if batch and tokens + len(row) - prefix_length > budget:
            yield _packing_row(rows, batch, prefix_length), batch
            batch, tokens = [], prefix_length
        batch.append(index)
        tokens += len(row) - prefix_length
    yield _packing_row(rows, batch, prefix_length), batch


def common_prefix_length(rows: Sequence[list[int]]) -> int:
    """Return how many tokens rows begin alike with, short of the shortest one's last."""
    least, most = min(rows), max(rows)  # what these two share lies in all between
    longest = min(map(len, rows)) - 1
    return next((i for i in range(longest) if least[i] != most[i]), longest)


def _packing_row(
    rows: dict[int, list[int]], indices: Sequence[int], prefix_length: int
) -> packing.Row:
    return rows[indices[0]][:prefix_length], tuple(rows[index][prefix_length:] for index in indices)


def _packed_states(
    scorer: Scorer, requests: Sequence[StateRequest], budget: int
) -> Iterator[tuple[int, Tensor]]:
    from harness.scoring import packing

    groups = group_rows(requests, budget)
    sizes = [packing.row_size(row) for row, _ in groups]
    for pack in packing.first_fit_decreasing(sizes, budget):
        packed = packing.pack([groups[i][0] for i in pack])
        indices = [index for i in pack for index in groups[i][1]]
        yield from _pack_states(scorer, packed, indices, requests)


def _pack_states(
    scorer: Scorer,
    packed: packing.PackedBatch,
    indices: Sequence[int],
    requests: Sequence[StateRequest],
) -> list[tuple[int, Tensor]]:
    import torch

    starts = [(span.start, span.prompt) for span in packed.spans for _ in span.responses]
    with torch.inference_mode():
        hidden = scorer.hidden(packed)
    results = []
    for index, (start, prefix_length), end in zip(
        indices, starts, packed.ends.tolist(), strict=True
    ):
        request = requests[index]
        first = end - len(request.row) + 1  # were the row whole, its first token would lie here
        results.append(
            (
                index,
                hidden[[(start if p < prefix_length else first) + p for p in request.positions]],
            )
        )
    return results


def _padded_states(
    model: PreTrainedModel, requests: Sequence[StateRequest], budget: int
) -> Iterator[tuple[int, Tensor]]:
    order = sorted(range(len(requests)), key=lambda index: len(requests[index].row))
    while order:
        longest = len(requests[order[-1]].row)
        size = max(1, budget // longest)
        batch, order = order[-size:], order[:-size]
        yield from zip(
            batch, _batch_states(model, [requests[index] for index in batch]), strict=True
        )


def _batch_states(model: PreTrainedModel, requests: Sequence[StateRequest]) -> list[Tensor]:
    import torch

    inputs = {
        n: c.to(model.device) for n, c in pad_left([request.row for request in requests]).items()
    }
    with torch.inference_mode():
        hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    width = hidden.shape[1]
    return [
        hidden[i, [width - len(request.row) + position for position in request.positions]]
        for i, request in enumerate(requests)
    ]


TokenRow = Sequence[int]


def compare_both_orders(
    comparisons: Sequence[Comparison],
    render: Callable[[Comparison], TokenRow],
    score_rows: Callable[[Sequence[TokenRow]], Sequence[float]],
    batch_size: int,
    advance: Advance,
) -> list[float]:
    """Return P(first preferred) of each comparison, in [0, 1], the mean over both of its orders.

    Args:
        comparisons: what is asked; each is asked as it is and swapped.
        row: renders one order.
        first_wins: answers rows that are asked together.
        size: how many rows are, the shortest first.
        advance: told of every comparison.
    """
    rows = [render(c) for comparison in comparisons for c in (comparison, comparison.swap())]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    probabilities = [0.0] * len(rows)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        for index, value in zip(batch, score_rows([rows[i] for i in batch]), strict=True):
            probabilities[index] = value
        advance((start + len(batch)) // 2 - start // 2)
    return [(a + 1 - b) / 2 for a, b in zip(probabilities[::2], probabilities[1::2], strict=True)]


def pad_left(rows: Sequence[TokenRow], pad: int = 0) -> dict[str, Tensor]:
    """Return a model's inputs with every row's last token in the last column.

    Positions count from a row's own first token, so that padding changes nothing.
    """
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
