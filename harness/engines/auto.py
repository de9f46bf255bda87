"""Chooses between two engines by what this machine has: vLLM and a GPU, or not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from harness.engines.transformers import TransformersEngine
from harness.engines.vllm import VLLMEngine

DEVICES = ("nvidia[0-9]*", "kfd", "dxg")
"""What Linux calls GPUs: NVIDIA's, AMD's, and either under Windows' WSL."""


def choose(prefer: VLLMEngine, otherwise: TransformersEngine) -> VLLMEngine | TransformersEngine:
    """Return `prefer` where it can run on a GPU, else `otherwise`; the engine says why it is."""
    if prefer.python is None and importlib.util.find_spec("vllm") is None:
        return otherwise.model_copy(update={"chosen_because": "vLLM is not installed"})
    if not has_gpu():
        return otherwise.model_copy(update={"chosen_because": "there is no GPU"})
    return prefer.model_copy(update={"chosen_because": "vLLM and a GPU are there"})


def has_gpu() -> bool:
    """Say whether torch has a GPU; torch is imported only where the kernel knows of one."""
    if not any(found for name in DEVICES for found in Path("/dev").glob(name)):
        return False
    import torch

    return bool(torch.cuda.is_available())
