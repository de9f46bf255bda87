"""LoRA (arXiv 2106.09685): low-rank adapters on frozen weights, through peft.

With the adapters off the model is the policy that training began with, exactly. What a stage leaves
behind has them merged into the weights: every policy is a whole one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from harness.core.config import Component
from harness.core.hardware import ModelShape
from harness.core.seeds import derive
from harness.core.versions import import_package

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Lora(Component):
    """The adapters' sizes; the names are the paper's where it has one."""

    rank: int = Field(16, gt=0)
    """r."""
    alpha: int = Field(32, gt=0)
    """α: the adapters' product is scaled by α / r."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers that get one; "all-linear": every one but the head."""


def adapt(model: PreTrainedModel, lora: Lora, seed: int) -> PeftModel:
    """Put adapters into the model, in place; they are the only weights left to train.

    Where they begin depends on the seed alone, so that all processes of a group begin alike.

    Raises:
        MissingDependencyError: peft is not installed.
    """
    peft = load_peft()
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=targets,
        lora_dropout=0.0,
    )
    model.enable_input_require_grads()  # else checkpointed layers have nothing to differentiate
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "adapters"))
        adapted: PeftModel = peft.PeftModel(model, config)
        return adapted


def load_peft() -> Any:
    """Return peft.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return import_package(
        "peft",
        "LoRA needs peft: pip install 'preference-harness[lora]', or leave optimiser.lora out",
    )


def adapter_parameters(shape: ModelShape, lora: Lora) -> int:
    """Return how many parameters the adapters have: r × (inputs + outputs) of what gets one.

    The targets are matched as peft does: a pattern with a layer's whole name, a list with the
    ends of names. The names are Llama's.
    """
    embedding = (shape.vocabulary, shape.hidden)
    layers = {
        f"model.layers.{number}.{name}": sides
        for number in range(shape.layers)
        for name, sides in shape.linear.items()
    }
    if lora.targets != "all-linear":
        layers |= {"model.embed_tokens": embedding, "lm_head": embedding}
    return lora.rank * sum(sum(sides) for name, sides in layers.items() if _is_target(name, lora))


def _is_target(name: str, lora: Lora) -> bool:
    if lora.targets == "all-linear":
        return True
    if isinstance(lora.targets, str):
        return re.fullmatch(lora.targets, name) is not None
    return any(f".{name}".endswith(f".{target}") for target in lora.targets)
