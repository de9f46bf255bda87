"""Last hidden states of token rows, packed by the training engine's scorer.

Rows about the same prompt share its prefix, so that K responses cost one forward pass over the
prompt. A model that the packed code does not fit is run on padded batches; a probe decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.oracles.weights import check_tokens

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.scoring import packing
    from harness.scoring.scorer import Scorer

TokenRow = Sequence[int]

PROBE = ((0, 1, 2, 3, 1), (0, 1, 2, 2, 0, 1), (1, 0, 2))
"""Token rows on which packed states are compared with the model's own; two share a prefix."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05}
"""Largest difference on the probe, relative to the state's norm."""


@dataclass(frozen=True, slots=True)
class StateRequest:
    """A row, and the tokens whose states are requested."""

    row: TokenRow
    group: str
    """Rows of one group share a prefix."""
    positions: tuple[int, ...]
    """Token positions in the row."""


def hidden_states(
    model: PreTrainedModel, requests: Sequence[StateRequest], budget: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield (index, last hidden states) for every row, in any order.

    The states have shape (positions, width).

    Args:
        model: a transformer with or without a head, in evaluation mode.
        requests: the rows, of at least two tokens each.
        budget: tokens per batch; a longer row forms a batch alone.

    Raises:
        PolicyError: a token has no row in the model's embeddings.
    """
    check_tokens(model, (request.row for request in requests))
    scorer = packed_scorer(model)
    results = (
        _padded_states(model, requests, budget)
        if scorer is None
        else _packed_states(scorer, requests, budget)
    )
    yield from results


def packed_scorer(model: PreTrainedModel) -> Scorer | None:
    """Return the model's scorer; None if packed states differ from the model's own."""
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
    """Return packing rows, each with the indices of the requests that it consists of.

    Requests of one group share their prefix; a group that exceeds the budget is split.
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
    """Return the length of the rows' common prefix, without the shortest row's last token."""
    least, most = min(rows), max(rows)  # the lexicographic extremes: all rows share their prefix
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
        first = end - len(request.row) + 1  # where the row would start without a shared prefix
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


def pad_left(rows: Sequence[TokenRow], pad: int = 0) -> dict[str, Tensor]:
    """Return a model's inputs, each of shape (rows, longest row), padded on the left.

    Positions count from each row's first token, so that padding changes no result.
    """
    import torch

    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
