"""Hidden states of token rows, by the engine's own scorer: packed, a common beginning read once.

Rows that are about the same prompt begin alike, so that K responses cost one reading of it. A model
that does not fit the packed code is read in padded batches instead; a probe tells which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.oracles.rows import Row, padded

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.scoring import packing
    from harness.scoring.scorer import Scorer

PROBE = ((0, 1, 2, 3, 1), (0, 1, 2, 2, 0, 1), (1, 0, 2))
"""Token rows on which a model's packed states are held against its own; two begin alike."""
APART = {"float32": 1e-3, "bfloat16": 0.05}
"""Largest difference on the probe, as a share of the state's length."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A row, and which of its tokens' states are wanted."""

    row: Row
    about: str
    """Rows that are about the same begin alike."""
    wanted: tuple[int, ...]
    """Places in the row."""


def states(
    model: PreTrainedModel, asked: Sequence[Asked], budget: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield (place, last hidden states) of every row, shape (wanted, width), in any order.

    Args:
        model: a transformer with or without a head, in evaluation mode.
        asked: the rows, of two tokens or more each.
        budget: tokens in memory at once; a longer row is taken alone.
    """
    scorer = packable(model)
    read = _padded(model, asked, budget) if scorer is None else _packed(scorer, asked, budget)
    yield from read


def packable(model: PreTrainedModel) -> Scorer | None:
    """Return the model's scorer; None where its packed states are not its own."""
    from harness.scoring.scorer import Scorer

    asked = [Asked(row, str(row[0]), (len(row) - 1,)) for row in PROBE]
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    own = dict(_padded(model, asked, 1))
    try:
        scorer = Scorer(model, backend="rows")
        told = dict(_packed(scorer, asked, 64))
    except (ValueError, TypeError, AttributeError):
        told = {}
    most = APART[str(model.dtype).removeprefix("torch.")]
    if told and all(bool((told[i] - o).norm() <= most * o.norm()) for i, o in own.items()):
        return Scorer(model)
    model.set_attn_implementation(before)
    return None


def grouped(asked: Sequence[Asked], budget: int) -> list[tuple[packing.Row, list[int]]]:
    """Return rows for packs, each with the places of those that it is made of.

    What is about the same shares its common beginning, and is divided where it exceeds the budget.
    """
    about: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(asked):
        about[one.about].append(place)
    return [part for places in about.values() for part in _shared(asked, places, budget)]


def _shared(
    asked: Sequence[Asked], places: Sequence[int], budget: int
) -> Iterator[tuple[packing.Row, list[int]]]:
    rows = {place: list(asked[place].row) for place in places}
    same = common(list(rows.values()))
    if not same:
        yield from (((row[:1], (row[1:],)), [place]) for place, row in rows.items())
        return
    part: list[int] = []
    tokens = same
    for place, row in rows.items():
        if part and tokens + len(row) - same > budget:
            yield _row(rows, part, same), part
            part, tokens = [], same
        part.append(place)
        tokens += len(row) - same
    yield _row(rows, part, same), part


def common(rows: Sequence[list[int]]) -> int:
    """Return how many tokens rows begin alike with, short of the shortest one's last."""
    least, most = min(rows), max(rows)  # what these two share lies in all between
    longest = min(map(len, rows)) - 1
    return next((i for i in range(longest) if least[i] != most[i]), longest)


def _row(rows: dict[int, list[int]], part: Sequence[int], same: int) -> packing.Row:
    return rows[part[0]][:same], tuple(rows[place][same:] for place in part)


def _packed(scorer: Scorer, asked: Sequence[Asked], budget: int) -> Iterator[tuple[int, Tensor]]:
    from harness.scoring import packing

    groups = grouped(asked, budget)
    sizes = [packing.size(row) for row, _ in groups]
    for pack in packing.bins(sizes, budget):
        packed = packing.pack([groups[i][0] for i in pack])
        places = [place for i in pack for place in groups[i][1]]
        yield from _of_pack(scorer, packed, places, asked)


def _of_pack(
    scorer: Scorer, packed: packing.Packed, places: Sequence[int], asked: Sequence[Asked]
) -> list[tuple[int, Tensor]]:
    import torch

    begins = [(span.start, span.prompt) for span in packed.spans for _ in span.responses]
    with torch.inference_mode():
        hidden = scorer.hidden(packed)
    found = []
    for place, (start, same), end in zip(places, begins, packed.ends.tolist(), strict=True):
        one = asked[place]
        first = end - len(one.row) + 1  # were the row whole, its first token would lie here
        found.append((place, hidden[[(start if p < same else first) + p for p in one.wanted]]))
    return found


def _padded(
    model: PreTrainedModel, asked: Sequence[Asked], budget: int
) -> Iterator[tuple[int, Tensor]]:
    order = sorted(range(len(asked)), key=lambda place: len(asked[place].row))
    while order:
        longest = len(asked[order[-1]].row)
        size = max(1, budget // longest)
        part, order = order[-size:], order[:-size]
        yield from zip(part, _of_batch(model, [asked[place] for place in part]), strict=True)


def _of_batch(model: PreTrainedModel, asked: Sequence[Asked]) -> list[Tensor]:
    import torch

    inputs = {n: c.to(model.device) for n, c in padded([one.row for one in asked]).items()}
    with torch.inference_mode():
        hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    width = hidden.shape[1]
    return [
        hidden[i, [width - len(one.row) + place for place in one.wanted]]
        for i, one in enumerate(asked)
    ]
