"""What training takes of a GPU's memory: weights, gradients and moments, and a micro-batch.

Rules of thumb, each named where it stands.
"""

from __future__ import annotations

from harness.shape import Shape
from harness.training import adapters
from harness.training.optimisers import Optimiser
from harness.training.spec import TrainSpec

MASTER = GRADIENT = 4
"""Bytes a parameter: float32."""
MOMENTS = {"adamw": 2 * 4.0, "adamw-8bit": 2 * (1 + 4 / 256), "rmsprop": 4.0}
"""Bytes a trained parameter: two moments, or one in RMSprop. Of 8 bits a block of 256 has a scale
in float32 (arXiv 2110.02861, section 2.1)."""


def trained(shape: Shape, settings: Optimiser) -> int:
    """Return how many parameters are trained: the adapters' where there are some, or all."""
    return adapters.size(shape, settings.lora) if settings.lora else shape.parameters


def state(shape: Shape, settings: Optimiser) -> float:
    """Return the bytes of weights, gradients and moments on all GPUs together.

    Frozen weights are float32 as trained ones, and have neither gradient nor moments.
    """
    frozen = shape.parameters if settings.lora else 0
    each = MASTER + GRADIENT + MOMENTS[settings.algorithm]
    return MASTER * frozen + each * trained(shape, settings)


def activations(shape: Shape, spec: TrainSpec) -> float:
    """Return the bytes that a micro-batch keeps for its gradient in bfloat16.

    A layer keeps about 8 × hidden + 4 × intermediate values a token, or its input alone where the
    rest is computed again, a layer at a time. Besides, one layer's weights stand whole (twice: the
    next one is fetched), the embedding and head too, and 512 rows of logits in float32 with their
    gradient.
    """
    tokens = max(spec.optimiser.micro_tokens, 2 * spec.max_length)
    layer = 8 * shape.hidden + 4 * shape.intermediate
    again = spec.optimiser.gradient_checkpointing
    kept = shape.layers * shape.hidden + layer if again else shape.layers * layer
    whole = 2 * (2 * shape.layer + 2 * shape.vocabulary * shape.hidden)
    logits = 2 * 4 * 512 * shape.vocabulary
    return 2 * tokens * kept + whole + logits
