"""What differs between transformers' architectures and matters to scoring packed rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from torch import nn

from harness.errors import PolicyError
from harness.scoring.head import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WINDOW = re.compile(r"window|chunk_size")
"""In the names of settings that limit how far back attention looks."""
SWITCHING_ROPE = frozenset({"longrope", "dynamic"})
"""Rotary positions whose constants change for all rows of a pack once one is long."""


def decoder(model: PreTrainedModel) -> Any:
    """Return the part that turns token ids into hidden states, without an image encoder."""
    is_text = model.config.get_text_config() is model.config
    return model.base_model if is_text else model.get_decoder()


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of the decoder's layers, whatever the architecture calls it.

    Raises:
        PolicyError: there is none.
    """
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    for module in decoder(model).modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise PolicyError(f"{type(model).__name__} is not supported: it has no list of {count} layers")


def context_length(config: Any) -> int | None:
    """Return the tokens that a row may have; None if the architecture has no limit.

    Where longer rows switch to other rotary constants (LongRoPE), which would change the shorter
    rows of their pack, it is the length up to which they do not.
    """
    text = config.get_text_config()
    longest: int | None = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") not in SWITCHING_ROPE:
        return longest
    original = rope.get("original_max_position_embeddings") or getattr(
        text, "original_max_position_embeddings", None
    )
    return min(filter(None, (longest, original)), default=None)


def windows(config: Any) -> list[int]:
    """Return the lengths at which some layer's attention stops looking back, ascending."""
    settings = config.get_text_config().to_dict()
    return sorted(
        {
            value
            for name, value in settings.items()
            if WINDOW.search(name) and type(value) is int and value > 0
        }
    )


def head_settings(config: Any) -> Head:
    """Return how hidden states become logits besides the head's weight."""
    text = config.get_text_config()
    divisor = getattr(text, "logits_scaling", None)  # Granite
    scale = 1 / divisor if divisor else getattr(text, "logit_scale", None)  # Cohere
    return Head(getattr(text, "final_logit_softcapping", None), 1.0 if scale is None else scale)


def head_width(config: Any) -> int:
    """Return the width of an attention head."""
    text = config.get_text_config()
    width: int = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return width
