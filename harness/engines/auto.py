"""Chooses between two engines by what this machine has: vLLM and a GPU, or not."""

from __future__ import annotations

import importlib.util

from harness.core.hardware import has_gpu
from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine


def choose(prefer: VLLMEngine, otherwise: TransformersEngine) -> VLLMEngine | TransformersEngine:
    """Return `prefer` where it can run on a GPU, else `otherwise`; the engine says why it is."""
    if prefer.python is None and importlib.util.find_spec("vllm") is None:
        return otherwise.model_copy(update={"chosen_because": "vLLM is not installed"})
    if not has_gpu():
        return otherwise.model_copy(update={"chosen_because": "there is no GPU"})
    return prefer.model_copy(update={"chosen_because": "vLLM and a GPU are there"})
