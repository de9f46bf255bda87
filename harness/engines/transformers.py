"""Generation in this process, with transformers' batched `generate`.

The library samples a whole batch from one generator, so that a sample depends on its neighbours.
Here every sample has its own uniform numbers, one per step, each a hash of (request seed, index,
step), and takes the token at which the cumulative distribution passes that number.

`generate` runs in segments, between which the rows that have ended leave the batch, so that one
long response does not hold up two hundred short ones. A prompt's forward pass is shared by its
samples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from harness.core.config import Component
from harness.core.hardware import default_device
from harness.core.hub import load_model
from harness.engines.completions import GenerationJob, prepare
from harness.errors import EngineError
from harness.protocols import Advance, AnswerRequests, Sampling
from harness.types import Completion, Policy, Request

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
SECOND_MULTIPLIER = np.uint64(0x94D049BB133111EB)
SEGMENT = 8
"""Tokens that are decoded before finished rows leave the batch."""


def uniforms(seeds: Sequence[int], indices: Sequence[int], steps: int) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1), shape (rows, steps): row r is the stream of (seed r, index r).

    The generator is splitmix64 (Steele, Lea & Flood 2014): the state is a hash of seed and index,
    and step t is the hash of state + t·γ. One hash serves all rows; a generator object per row
    would cost more than a small model's forward pass.
    """
    seed = np.array([value & 0xFFFFFFFFFFFFFFFF for value in seeds], dtype=np.uint64)
    state = mix(mix(seed) + np.array(indices, dtype=np.uint64))
    counter = np.arange(1, steps + 1, dtype=np.uint64) * GAMMA
    bits = mix(state[:, None] + counter[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return splitmix64's finalizer of every number, a bijection of 64 bits."""
    value = (value ^ (value >> np.uint64(30))) * FIRST_MULTIPLIER
    value = (value ^ (value >> np.uint64(27))) * SECOND_MULTIPLIER
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One sequence of a batch: sample `index` of the request at `position`."""

    position: int
    index: int


@dataclass
class DecodingBatch:
    """The rows that have not ended; they are the first dimension of every tensor."""

    rows: Tensor
    """The index of each row in the whole batch."""
    ids: Tensor
    """Prompt, padded on the left, and response so far, shape (rows, width + tokens)."""
    mask: Tensor
    response_limits: Tensor
    """The most tokens of each response."""
    numbers: Tensor
    """Uniform numbers, shape (rows, max_tokens), float64."""
    cache: Any
    """The keys and values of all tokens but the last."""

    def select(self, keep: Tensor) -> DecodingBatch:
        """Return the batch of the rows at `keep`; the cache is reduced in place."""
        self.cache.reorder_cache(keep)
        return DecodingBatch(
            self.rows[keep],
            self.ids[keep],
            self.mask[keep],
            self.response_limits[keep],
            self.numbers[keep],
            self.cache,
        )


def decode_rows(
    model: PreTrainedModel, job: GenerationJob, rows: Sequence[SampleRow], sampling: Sampling
) -> list[list[int]]:
    """Return the response tokens of every row, up to and including its end token."""
    import torch

    responses: list[list[int]] = [[] for _ in rows]
    ends = torch.tensor(job.ends, device=model.device)
    with torch.inference_mode():
        batch = start_batch(model, job, rows, sampling)
        width = batch.ids.shape[1]
        while len(batch.rows):
            decode_segment(model, job, batch, sampling, width)
            tokens = batch.ids[:, width:]
            is_end = torch.isin(tokens, ends)
            ended = is_end.any(dim=1)
            lengths = torch.where(ended, is_end.int().argmax(dim=1) + 1, tokens.shape[1])
            lengths = torch.minimum(lengths, batch.response_limits)
            done = ended | (lengths == batch.response_limits)
            for index in done.nonzero()[:, 0].tolist():
                responses[int(batch.rows[index])] = tokens[index, : int(lengths[index])].tolist()
            if bool(done.any()):
                batch = batch.select((~done).nonzero()[:, 0])
    return responses


def start_batch(
    model: PreTrainedModel, job: GenerationJob, rows: Sequence[SampleRow], sampling: Sampling
) -> DecodingBatch:
    """Run one forward pass per prompt, and return a batch with a row per sample."""
    import torch

    positions = list(dict.fromkeys(row.position for row in rows))
    prompts = [job.prompts[position] for position in positions]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts]).to(ids)
    row_index = {position: index for index, position in enumerate(positions)}
    expansion = torch.tensor([row_index[row.position] for row in rows], device=model.device)
    cache = prefill(model, ids[:, :-1], mask[:, :-1])
    cache.reorder_cache(expansion)
    limits = [job.response_limit(row.position, sampling.max_tokens) for row in rows]
    seeds = [job.requests[row.position].seed for row in rows]
    numbers = uniforms(seeds, [row.index for row in rows], max(limits))
    return DecodingBatch(
        torch.arange(len(rows), device=model.device),
        ids[expansion],
        mask[expansion],
        torch.tensor(limits, device=model.device),
        torch.from_numpy(numbers).to(model.device),
        cache,
    )


def prefill(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Any:
    """Return the cache of prompts that are padded on the left."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    if ids.shape[1]:
        position_ids = (mask.cumsum(dim=1) - 1).clamp(min=0)
        model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return cache


def decode_segment(
    model: PreTrainedModel, job: GenerationJob, batch: DecodingBatch, sampling: Sampling, width: int
) -> None:
    """Decode a segment, which extends `ids`, `mask` and `cache` of the batch in place."""
    from torch.nn.functional import pad
    from transformers import GenerationConfig

    remaining = int(batch.response_limits.max()) - (batch.ids.shape[1] - width)
    # the settings that a policy's directory recommends (a temperature, a penalty) are not used
    model.generation_config = GenerationConfig()
    batch.ids = model.generate(
        batch.ids,
        attention_mask=batch.mask,
        past_key_values=batch.cache,
        do_sample=False,
        max_new_tokens=min(SEGMENT, remaining),
        eos_token_id=list(job.ends) or None,
        pad_token_id=job.ends[0] if job.ends else 0,
        logits_processor=[InverseCDFSampler(sampling, batch.numbers, width)]
        if sampling.temperature
        else [],
    )
    added = batch.ids.shape[1] - batch.mask.shape[1]
    batch.mask = pad(batch.mask, (0, added), value=1)


class InverseCDFSampler:
    """A logits processor that leaves one token per row, selected by the row's own number.

    `generate`, which is greedy, then takes that token. The distribution is computed in float64, so
    that the batch changes a token only if a number lies within rounding of a boundary.
    """

    def __init__(self, sampling: Sampling, numbers: Tensor, width: int) -> None:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        self.numbers = numbers
        self.width = width
        self.warpers = [TemperatureLogitsWarper(sampling.temperature)]
        if sampling.top_p < 1:
            self.warpers.append(TopPLogitsWarper(sampling.top_p))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores, shape (rows, vocabulary): 0 for the sampled token, -inf elsewhere."""
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


class TransformersEngine(Component):
    """Samples with transformers, on the CPU or one GPU."""

    gpus: ClassVar[int] = 1
    python: ClassVar[str | None] = None
    """lm-eval runs in the current interpreter."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on the CPU, bfloat16 on a GPU."""
    batch_size: int = Field(256, gt=0, exclude=True)
    """Sequences per batch."""
    device: str = Field("auto", exclude=True)
    """auto: the GPU if there is one."""
    selection_reason: str = Field("", exclude=True)
    """Why `engine: auto` selected it; empty if the user named it."""

    @property
    def accelerators(self) -> int:
        """The number of GPUs it uses."""
        return int(self.device != "cpu")

    def lm_eval(self, policy: Policy) -> dict[str, Any]:
        """Return lm-eval's name of this engine, its arguments and its environment."""
        device = self.device if self.device != "auto" else default_device()
        arguments = {
            "pretrained": policy.path,
            "revision": policy.revision or "main",
            "dtype": self._dtype(device),
            "device": device,
            "use_safetensors": True,
        }
        return {"model": "hf", "arguments": arguments, "environment": {}}

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Answer every request, in order: n completions each, with their tokens.

        Raises:
            PolicyError: the weights, the tokenizer or the chat template cannot be used.
            EngineError: a prompt leaves no room for a response, or a batch does not fit in memory.
        """
        with self.resident(policy, requests, sampling) as answer:
            return answer(range(len(requests)), advance)

    @contextmanager
    def resident(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling
    ) -> Iterator[AnswerRequests]:
        """Load the model; the yielded function answers any of the requests.

        Raises:
            PolicyError: as `generate`.
            EngineError: as `generate`.
        """
        import torch

        job = prepare(policy, requests)
        device = self.device if self.device != "auto" else default_device()
        model = load_model(policy, getattr(torch, self._dtype(device)), device)

        def answer(positions: Sequence[int], advance: Advance) -> list[Completion]:
            return self._answer(model, job, positions, sampling, advance)

        yield answer

    def _answer(
        self,
        model: PreTrainedModel,
        job: GenerationJob,
        positions: Sequence[int],
        sampling: Sampling,
        advance: Advance,
    ) -> list[Completion]:
        import torch

        all_rows = sample_rows(job, positions)
        completions: dict[SampleRow, Completion] = {}
        open_rows = Counter(row.position for row in all_rows)
        for batch in batches(job, all_rows, self.batch_size):
            try:
                responses = decode_rows(model, job, batch, sampling)
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    f"{len(batch)} sequences at once do not fit in the GPU's memory; "
                    f"lower it with --set engine.batch_size={max(1, len(batch) // 4)} "
                    "(engine.fallback.batch_size if the engine is auto)"
                ) from error
            for row, token_ids in zip(batch, responses, strict=True):
                completions[row] = job.completion(row.position, row.index, token_ids)
            open_rows.subtract(row.position for row in batch)
            for _ in {row.position for row in batch if not open_rows[row.position]}:
                advance(1)
        return [completions[row] for row in all_rows]

    def _dtype(self, device: str) -> str:
        automatic = "float32" if device == "cpu" else "bfloat16"
        return automatic if self.dtype == "auto" else self.dtype


def sample_rows(job: GenerationJob, positions: Sequence[int]) -> list[SampleRow]:
    """Return the samples of the requests at some positions, in order."""
    return [
        SampleRow(position, i) for position in positions for i in range(job.requests[position].n)
    ]


def batches(
    job: GenerationJob, all_rows: Sequence[SampleRow], size: int
) -> Iterator[list[SampleRow]]:
    """Yield batches of `size` rows; prompts of similar length share one, which saves padding."""
    ordered = sorted(all_rows, key=lambda row: len(job.prompts[row.position]))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
