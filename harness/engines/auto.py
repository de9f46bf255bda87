"""Chooses between two engines: by what this machine has, and on the CPU by the work."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from pydantic import Field

from harness.core.config import Component
from harness.core.hardware import has_gpu
from harness.core.hub import configured_shape
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine
from harness.protocols import Advance, AnswerRequests, Sampling
from harness.types import Completion, Policy, Request

RESPONSE_TOKENS = 400
"""Mean tokens of a response, where `max_tokens` allows as many; chosen here."""
SMALLEST = 50e6
"""Parameters below which vLLM is not used on the CPU: a step's fixed costs outweigh the rest."""
WORTH_A_START = 2e12
"""Parameters times tokens from which vLLM's start on the CPU pays: with 135 million parameters a
core decodes 77 tokens a second by transformers and 127 by vLLM (`benchmarks/generation.py`), so on
two cores 23 more seconds of start come back after 9,000 tokens; here after 15,000, for certain."""


class EngineChoice(Component):
    """Becomes `preferred` if that can run on a GPU here, else `fallback`, or both on the CPU."""

    preferred: VLLMEngine
    fallback: TransformersEngine

    def resolve(self) -> VLLMEngine | TransformersEngine | FasterEngine:
        """Return the engine, with the reason in it."""
        if self.preferred.python is None and importlib.util.find_spec("vllm") is None:
            return self.fallback.model_copy(update={"selection_reason": "vLLM is not installed"})
        if not has_gpu():
            reason = "there is no GPU: vLLM for long work, transformers for short"
            return FasterEngine(
                preferred=self.preferred, fallback=self.fallback, selection_reason=reason
            )
        return self.preferred.model_copy(
            update={"selection_reason": "vLLM and a GPU are available"}
        )


class FasterEngine(Component):
    """On the CPU: vLLM where the work is worth its start, transformers elsewhere.

    The work alone decides, not the machine, so that the same samples are asked of the same engine.
    """

    gpus: ClassVar[int] = 1
    python: ClassVar[str | None] = None
    """lm-eval runs in the current interpreter."""
    accelerators: ClassVar[int] = 1
    preferred: VLLMEngine
    fallback: TransformersEngine
    selection_reason: str = Field("", exclude=True)
    """Why `engine: auto` selected it."""

    def lm_eval(self, policy: Policy) -> dict[str, Any]:
        """Return what lm-eval is told of transformers, which is there."""
        return self.fallback.lm_eval(policy)

    def generate(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling, advance: Advance
    ) -> list[Completion]:
        """Answer every request by the faster engine; it raises what that raises."""
        return self.choose(policy, requests, sampling).generate(policy, requests, sampling, advance)

    def resident(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling
    ) -> AbstractContextManager[AnswerRequests]:
        """Load the policy in the faster engine; it raises what that raises."""
        return self.choose(policy, requests, sampling).resident(policy, requests, sampling)

    def choose(
        self, policy: Policy, requests: Sequence[Request], sampling: Sampling
    ) -> VLLMEngine | TransformersEngine:
        """Return the engine that is faster for these requests, all together."""
        shape = configured_shape(policy)
        parameters = shape.parameters if shape else 0
        samples = sum(request.n for request in requests)
        tokens = samples * min(sampling.max_tokens, RESPONSE_TOKENS)
        if parameters < SMALLEST or parameters * tokens < WORTH_A_START:
            return self.fallback
        logging.getLogger(__name__).info(
            "engine: vllm, for about %s tokens of %.2g parameters", f"{tokens:,}", parameters
        )
        return self.preferred
