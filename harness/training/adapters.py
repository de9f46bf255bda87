"""LoRA (arXiv 2106.09685): low-rank adapters on frozen weights, through peft.

With the adapters off the model is the policy that training began with, exactly. What a stage leaves
behind has them merged into the weights: every policy is a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field

from harness.config import Component
from harness.errors import MissingDependencyError
from harness.seeds import derive

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
    try:
        import peft
    except ImportError as error:
        raise MissingDependencyError(
            "LoRA needs peft: pip install 'preference-harness[lora]', or leave optimiser.lora out"
        ) from error
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
        return peft.PeftModel(model, config)
