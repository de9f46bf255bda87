"""LoRA (arXiv 2106.09685): low-rank adapters on frozen weights, through peft.

With the adapters disabled the model is exactly the policy that training started from. A stage saves
the weights with the adapters merged into them, so every policy is a plain model.
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
from harness.errors import PolicyError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Lora(Component):
    """The size of the adapters and the layers that get one, under the paper's names."""

    rank: int = Field(16, gt=0)
    """r."""
    alpha: int = Field(32, gt=0)
    """α: the adapters' product is scaled by α / r."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers with an adapter; "all-linear": every linear layer but the head."""


def adapt(model: PreTrainedModel, lora: Lora, seed: int) -> PeftModel:
    """Add adapters to the model, in place; only they are trained.

    Their initial weights depend on the seed alone, so all processes of a group start alike.

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
    model.enable_input_require_grads()  # otherwise checkpointed layers get no gradient
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "adapters"))
        adapted: PeftModel = peft.PeftModel(model, config)
        return adapted


def check_targets(model: PreTrainedModel, lora: Lora) -> None:
    """Refuse adapters on layers whose merged weights would not be the policy that was trained.

    The head is computed from its weight alone, without adapters; and adapters on embeddings that
    are the head's weights too would change both once they are merged.

    Raises:
        PolicyError: there is such an adapter, or no layer has one.
    """
    if lora.targets == "all-linear":
        return
    targeted = [name for name, _ in model.named_modules() if is_target(name, lora)]
    shown = lora.targets if isinstance(lora.targets, str) else ", ".join(lora.targets)
    if not targeted:
        linear = {n.rpartition(".")[2] for n, m in model.named_modules() if hasattr(m, "weight")}
        raise PolicyError(
            f"optimiser.lora.targets={shown}: the policy has no such layer; "
            f"its layers are {', '.join(sorted(linear))}"
        )
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    for name in targeted:
        layer = model.get_submodule(name)
        if layer is head or (layer is embeddings and layer.weight is head.weight):
            what = "the head" if layer is head else "which shares its weights with the head"
            raise PolicyError(
                f"optimiser.lora.targets={shown}: adapters on {name}, {what}, cannot be "
                "trained; leave it out, or train without adapters: --set optimiser.lora=null"
            )


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
    """Return the number of adapter parameters: r × (inputs + outputs) of every adapted layer.

    Targets are matched as peft does: a pattern against a layer's full name, a list against the ends
    of names. The names are Llama's.
    """
    embedding = (shape.vocabulary, shape.hidden)
    layers = {
        f"model.layers.{number}.{name}": sides
        for number in range(shape.layers)
        for name, sides in shape.linear.items()
    }
    if lora.targets != "all-linear":
        layers |= {"model.embed_tokens": embedding, "lm_head": embedding}
    return lora.rank * sum(sum(sides) for name, sides in layers.items() if is_target(name, lora))


def is_target(name: str, lora: Lora) -> bool:
    """Say whether a layer of this full name gets an adapter."""
    if lora.targets == "all-linear":
        return True
    if isinstance(lora.targets, str):
        return re.fullmatch(lora.targets, name) is not None
    return any(f".{name}".endswith(f".{target}") for target in lora.targets)
