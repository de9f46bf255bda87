"""Chooses between two engines by whether this machine has vLLM and a GPU."""

from __future__ import annotations

import importlib.util

from harness.core.hardware import has_gpu
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine


def choose_engine(
    preferred: VLLMEngine, fallback: TransformersEngine
) -> VLLMEngine | TransformersEngine:
    """Return `preferred` if it can run on a GPU here, else `fallback`, with the reason in it."""
    if preferred.python is None and importlib.util.find_spec("vllm") is None:
        return fallback.model_copy(update={"selection_reason": "vLLM is not installed"})
    if not has_gpu():
        return fallback.model_copy(update={"selection_reason": "there is no GPU"})
    return preferred.model_copy(update={"selection_reason": "vLLM and a GPU are available"})
