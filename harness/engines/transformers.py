"""The embedded engine: transformers' batched `generate`, with a stream of randomness a sample.

The library draws a whole batch from one generator, so a sample there depends on its neighbours.
Here every sample has its own uniform numbers, one a step, each a hash of (request seed, index,
step); a token is where the cumulative distribution passes that number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from harness.config import Component
from harness.engines.completions import Answer, Job, prepare
from harness.engines.decoding import Row, sample
from harness.errors import EngineError
from harness.models import load_model
from harness.protocols import Advance, Sampling
from harness.types import Completion, Policy, Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TransformersEngine(Component):
    """Samples with transformers, on a processor or one GPU."""

    gpus: ClassVar[int] = 1
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on a processor, bfloat16 on a GPU."""
    batch_size: int = Field(256, gt=0, exclude=True)
    """Sequences in memory at once."""
    device: str = Field("auto", exclude=True)
    """auto: the GPU where there is one."""
    chosen_because: str = Field("", exclude=True)
    """Why this engine was chosen, where another one might have been."""

    @property
    def accelerators(self) -> int:
        """How many GPUs it takes."""
        return int(self.device != "cpu")

    def lm_eval(self, policy: Policy) -> dict[str, Any]:
        """Return which of lm-eval's models this one is there, and what that is made with."""
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
    ) -> Iterator[Answer]:
        """Keep the model loaded while some of the requests are answered, then others.

        Raises: as `generate`.
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
        job: Job,
        positions: Sequence[int],
        sampling: Sampling,
        advance: Advance,
    ) -> list[Completion]:
        import torch

        asked = rows(job, positions)
        found: dict[Row, Completion] = {}
        open_rows = Counter(row.position for row in asked)
        for batch in batches(job, asked, self.batch_size):
            try:
                answered = sample(model, job, batch, sampling)
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    f"{len(batch)} sequences at once do not fit in the GPU's memory; "
                    f"lower it with --set engine.batch_size={max(1, len(batch) // 4)} "
                    "(engine.otherwise.batch_size where the engine is auto)"
                ) from error
            for row, token_ids in zip(batch, answered, strict=True):
                found[row] = job.completion(row.position, row.index, token_ids)
            open_rows.subtract(row.position for row in batch)
            for _ in {row.position for row in batch if not open_rows[row.position]}:
                advance(1)
        return [found[row] for row in asked]

    def _dtype(self, device: str) -> str:
        automatic = "float32" if device == "cpu" else "bfloat16"
        return automatic if self.dtype == "auto" else self.dtype


def default_device() -> str:
    """Return where tensors go when no one says."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def rows(job: Job, positions: Sequence[int]) -> list[Row]:
    """Return every sample of the requests at some positions, in their order."""
    return [Row(at, i) for at in positions for i in range(job.requests[at].n)]


def batches(job: Job, asked: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Yield the rows `size` at a time, prompts of like length together, which saves padding."""
    ordered = sorted(asked, key=lambda row: len(job.prompts[row.position]))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
