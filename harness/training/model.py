"""A model made ready for training as the settings say, and made whole again for who comes after."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from harness.core.hardware import default_device
from harness.core.hub import load_model, uninitialized_model
from harness.scoring.scorer import Scorer, check_architecture
from harness.training.distributed import (
    World,
    gather_full_weights,
    load_full_weights,
    node_count,
    shard,
)
from harness.training.lora import adapt
from harness.training.optimisers import OptimiserSettings
from harness.types import Policy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class TrainingModel:
    """A model in training; changed in place."""

    def __init__(self, model: PreTrainedModel, settings: OptimiserSettings, seed: int = 0) -> None:
        """Check that the model can be trained packed, and prepare it.

        Of several processes the first one's weights count.

        Raises:
            PolicyError: its architecture does not fit.
            MissingDependencyError: adapters are asked for without peft.
        """
        if World.current().is_main:
            check_architecture(model)
        self.model = model
        self.settings = settings
        self.sharded_scorer: Scorer | None = None
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
            scorer.compile_layers()
        world = World.current()
        if world.size > 1 or dtype != "float32" or self.settings.offload:
            weights = dict(scorer.state_dict()) if world.is_main else {}
            shard(scorer, self.settings.nodes or node_count(), self.settings.offload)
            if world.size > 1:
                load_full_weights(scorer, weights)
            self.sharded_scorer = scorer
        return scorer

    def full_model(self) -> PreTrainedModel:
        """Return a plain model with all its weights, adapters drawn into them.

        Called by every process; of several the first one's only is whole.
        """
        if self.sharded_scorer is None:
            return merge_adapters(self.adapters) if self.adapters else self.model
        weights = gather_full_weights(self.sharded_scorer)
        if not World.current().is_main:
            return self.model
        model: PreTrainedModel = type(self.model)(self.model.config)
        adapters = adapt(model, self.settings.lora, self.seed) if self.settings.lora else None
        model.load_state_dict(weights)
        model.generation_config = self.model.generation_config
        return merge_adapters(adapters) if adapters else model


def load_start_model(policy: Policy) -> PreTrainedModel:
    """Return the policy in float32, to be trained; of several processes the first alone reads it.

    There it lies in the processor's memory until it is sharded: whole it would take as much of the
    accelerator's as all that the shards and their moments need.

    Raises:
        PolicyError: the path holds no causal language model in safetensors.
    """
    world = World.current()
    if world.size == 1:
        return load_model(policy, torch.float32, default_device())
    return (
        load_model(policy, torch.float32, "cpu") if world.is_main else uninitialized_model(policy)
    )


def merge_adapters(adapters: PeftModel) -> PreTrainedModel:
    """Return the plain model with its adapters drawn into its weights."""
    return cast("PreTrainedModel", adapters.merge_and_unload())
