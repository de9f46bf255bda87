"""Batched decoding with transformers, where every row draws from a stream of its own.

`generate` runs in segments: between two of them the rows that have ended leave the batch, so that
one long response does not hold up two hundred short ones. A prompt is read once for all its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.engines.completions import Job
from harness.engines.streams import uniforms
from harness.protocols import Sampling

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SEGMENT = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence of a batch: a sample of the request at `position`."""

    position: int
    index: int


@dataclass
class Batch:
    """The rows that have not ended: the first dimension of every tensor."""

    rows: Tensor
    """Where each stands in the whole batch."""
    ids: Tensor
    """Prompt, padded on the left, and response so far, shape (rows, width + tokens)."""
    mask: Tensor
    room: Tensor
    """How many tokens each response may have."""
    numbers: Tensor
    """Uniform numbers, shape (rows, max_tokens), float64."""
    cache: Any
    """The keys and values of all tokens but the last."""

    def select(self, keep: Tensor) -> Batch:
        """Return the batch of the rows at `keep`; the cache is cut in place."""
        self.cache.reorder_cache(keep)
        return Batch(
            self.rows[keep],
            self.ids[keep],
            self.mask[keep],
            self.room[keep],
            self.numbers[keep],
            self.cache,
        )


def sample(
    model: PreTrainedModel, job: Job, rows: Sequence[Row], sampling: Sampling
) -> list[list[int]]:
    """Return the response tokens of every row, each up to and with its end token."""
    import torch

    found: list[list[int]] = [[] for _ in rows]
    ends = torch.tensor(job.ends, device=model.device)
    with torch.inference_mode():
        batch = begin(model, job, rows, sampling)
        width = batch.ids.shape[1]
        while len(batch.rows):
            extend(model, job, batch, sampling, width)
            tokens = batch.ids[:, width:]
            is_end = torch.isin(tokens, ends)
            ended = is_end.any(dim=1)
            lengths = torch.where(ended, is_end.int().argmax(dim=1) + 1, tokens.shape[1])
            lengths = torch.minimum(lengths, batch.room)
            done = ended | (lengths == batch.room)
            for at in done.nonzero()[:, 0].tolist():
                found[int(batch.rows[at])] = tokens[at, : int(lengths[at])].tolist()
            if bool(done.any()):
                batch = batch.select((~done).nonzero()[:, 0])
    return found


def begin(model: PreTrainedModel, job: Job, rows: Sequence[Row], sampling: Sampling) -> Batch:
    """Read the prompts, each once, and lay out a row a sample."""
    import torch

    positions = list(dict.fromkeys(row.position for row in rows))
    prompts = [job.prompts[position] for position in positions]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts]).to(ids)
    place = {position: at for at, position in enumerate(positions)}
    spread = torch.tensor([place[row.position] for row in rows], device=model.device)
    cache = read(model, ids[:, :-1], mask[:, :-1])
    cache.reorder_cache(spread)
    room = [job.room(row.position, sampling.max_tokens) for row in rows]
    seeds = [job.requests[row.position].seed for row in rows]
    numbers = uniforms(seeds, [row.index for row in rows], max(room))
    return Batch(
        torch.arange(len(rows), device=model.device),
        ids[spread],
        mask[spread],
        torch.tensor(room, device=model.device),
        torch.from_numpy(numbers).to(model.device),
        cache,
    )


def read(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Any:
    """Return the cache of prompts that are padded on the left."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    if ids.shape[1]:
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return cache


def extend(model: PreTrainedModel, job: Job, batch: Batch, sampling: Sampling, width: int) -> None:
    """Decode a segment: in place, `ids`, `mask` and `cache` grow by as many tokens."""
    from torch.nn.functional import pad
    from transformers import GenerationConfig

    left = int(batch.room.max()) - (batch.ids.shape[1] - width)
    # What the policy's folder recommends (a temperature, a penalty) is not what was asked for.
    model.generation_config = GenerationConfig()
    batch.ids = model.generate(
        batch.ids,
        attention_mask=batch.mask,
        past_key_values=batch.cache,
        do_sample=False,
        max_new_tokens=min(SEGMENT, left),
        eos_token_id=list(job.ends) or None,
        pad_token_id=job.ends[0] if job.ends else 0,
        logits_processor=[Draw(sampling, batch.numbers, width)] if sampling.temperature else [],
    )
    grown = batch.ids.shape[1] - batch.mask.shape[1]
    batch.mask = pad(batch.mask, (0, grown), value=1)


class Draw:
    """A logits processor that leaves one token a row: the one that the row's own number picks.

    `generate` then takes the largest, which is it. In float64, so that a row's token is the same
    whatever the batch: only a number within rounding of a boundary could tell.
    """

    def __init__(self, sampling: Sampling, numbers: Tensor, width: int) -> None:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        self.numbers = numbers
        self.width = width
        self.warpers = [TemperatureLogitsWarper(sampling.temperature)]
        if sampling.top_p < 1:
            self.warpers.append(TopPLogitsWarper(sampling.top_p))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores of shape (rows, vocabulary): 0 for the token drawn, -inf elsewhere."""
        import torch

        warped = scores.double()
        for warp in self.warpers:
            warped = warp(input_ids, warped)
        cumulative = warped.softmax(dim=-1).cumsum(dim=-1)
        total = cumulative[:, -1:].contiguous()
        number = self.numbers[:, input_ids.shape[1] - self.width, None] * total
        drawn = torch.searchsorted(cumulative, number, right=True)
        last = torch.searchsorted(cumulative, total)  # the last token that has any probability
        token = torch.minimum(drawn, last)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)
