"""Chooses between two engines by whether this machine has vLLM and a GPU."""

from __future__ import annotations

import importlib.util

from harness.core.config import Component
from harness.core.hardware import has_gpu
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine


class EngineChoice(Component):
    """Becomes `preferred` if that can run on a GPU here, else `fallback`."""

    preferred: VLLMEngine
    fallback: TransformersEngine

    def resolve(self) -> VLLMEngine | TransformersEngine:
        """Return the engine, with the reason in it."""
        if self.preferred.python is None and importlib.util.find_spec("vllm") is None:
            return self.fallback.model_copy(update={"selection_reason": "vLLM is not installed"})
        if not has_gpu():
            return self.fallback.model_copy(update={"selection_reason": "there is no GPU"})
        return self.preferred.model_copy(
            update={"selection_reason": "vLLM and a GPU are available"}
        )
