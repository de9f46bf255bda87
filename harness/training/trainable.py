"""A model made ready for training as the settings say, and made whole again for who comes after."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from harness.models import hollow_model, load_model
from harness.scoring.scorer import Scorer, check_architecture
from harness.training.adapters import adapt
from harness.training.distributed import World, device, fill, gathered, machines, shard
from harness.training.optimisers import Optimiser
from harness.types import Policy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Trainable:
    """A model in training; changed in place."""

    def __init__(self, model: PreTrainedModel, settings: Optimiser, seed: int = 0) -> None:
        """Check that the model can be trained packed, and prepare it.

        Of several processes the first one's weights count.

        Raises:
            PolicyError: its architecture does not fit.
            MissingDependencyError: adapters are asked for without peft.
        """
        if World.here().first:
            check_architecture(model)
        self.model = model
        self.settings = settings
        self.sharded: Scorer | None = None
        self.seed = seed
        self.adapters = adapt(model, settings.lora, seed) if settings.lora else None
        model.train()  # dropout is never applied: live and frozen must be alike
        for module in model.modules():
            if hasattr(module, "p") and type(module).__name__ == "Dropout":
                module.p = 0.0
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def scorer(self, dtype: str) -> Scorer:
        """Return the function of packed rows that is differentiated.

        In another type than the masters' float32 it needs a group, be it of one process.
        """
        scorer = Scorer(self.model, dtype)
        if self.settings.compile:
            scorer.compiled()
        world = World.here()
        if world.size > 1 or dtype != "float32" or self.settings.offload:
            weights = dict(scorer.state_dict()) if world.first else {}
            shard(scorer, self.settings.nodes or machines(), self.settings.offload)
            if world.size > 1:
                fill(scorer, weights)
            self.sharded = scorer
        return scorer

    def whole(self) -> PreTrainedModel:
        """Return a plain model with all its weights, adapters drawn into them.

        Called by every process; of several the first one's only is whole.
        """
        if self.sharded is None:
            return merged(self.adapters) if self.adapters else self.model
        weights = gathered(self.sharded)
        if not World.here().first:
            return self.model
        whole: PreTrainedModel = type(self.model)(self.model.config)
        adapters = adapt(whole, self.settings.lora, self.seed) if self.settings.lora else None
        whole.load_state_dict(weights)
        whole.generation_config = self.model.generation_config
        return merged(adapters) if adapters else whole


def start(policy: Policy) -> PreTrainedModel:
    """Return the policy in float32, to be trained; of several processes the first alone reads it.

    There it lies in the processor's memory until it is sharded: whole it would take as much of the
    accelerator's as all that the shards and their moments need.

    Raises:
        PolicyError: the path holds no causal language model in safetensors.
    """
    world = World.here()
    if world.size == 1:
        return load_model(policy, torch.float32, device())
    return load_model(policy, torch.float32, "cpu") if world.first else hollow_model(policy)


def merged(adapters: PeftModel) -> PreTrainedModel:
    """Return the plain model with its adapters drawn into its weights."""
    return cast("PreTrainedModel", adapters.merge_and_unload())
