"""A policy's model, prepared for training (adapters, shards, checkpointing) and gathered again."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

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
from harness.training.lora import adapt, check_targets
from harness.training.optimisers import OptimiserSettings
from harness.types import Policy

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class TrainingModel:
    """A model in training; it is modified in place, and stays in evaluation mode."""

    def __init__(self, model: PreTrainedModel, settings: OptimiserSettings, seed: int = 0) -> None:
        """Check that the model can be trained on packed rows, and prepare it.

        Only the first process's weights matter; the others receive them when the model is sharded.

        Raises:
            PolicyError: its architecture is not supported, or its adapters would not be trained.
            MissingDependencyError: adapters need peft, which is not installed.
        """
        if World.current().is_main:
            check_architecture(model)
        if settings.lora:
            check_targets(model, settings.lora)
        self.model = model
        self.settings = settings
        self.sharded_scorer: Scorer | None = None
        self.seed = seed
        self.adapters = adapt(model, settings.lora, seed) if settings.lora else None
        model.eval()  # no dropout, no noise: the live policy must equal the frozen one
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            prepare_checkpointed_layers(model)

    def scorer(self, dtype: str) -> Scorer:
        """Return the differentiable function from packed rows to log-probabilities.

        A dtype other than the master weights' float32 needs a process group, if only of one.
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
        """Return a plain model with all its weights, adapters merged into them.

        Every process must call it; only the first one's result is complete.
        """
        if self.sharded_scorer is None:
            return merge_adapters(self.adapters) if self.adapters else self.model
        weights = gather_full_weights(self.sharded_scorer)
        if not World.current().is_main:
            return self.model
        model: PreTrainedModel = type(self.model)(self.model.config)
        adapters = adapt(model, self.settings.lora, self.seed) if self.settings.lora else None
        model.load_state_dict(weights)
        model.tie_weights()
        model.generation_config = self.model.generation_config
        return merge_adapters(adapters) if adapters else model


def load_start_model(policy: Policy) -> PreTrainedModel:
    """Return the policy's model in float32; of several processes only the first loads weights.

    They stay in CPU memory until they are sharded: the whole model would take as much of the
    accelerator's memory as its shards and their optimiser states.

    Raises:
        PolicyError: the path holds no causal language model in safetensors.
    """
    world = World.current()
    if world.size == 1:
        return load_model(policy, torch.float32, default_device())
    return (
        load_model(policy, torch.float32, "cpu") if world.is_main else uninitialized_model(policy)
    )


def prepare_checkpointed_layers(model: PreTrainedModel) -> None:
    """Have layers recompute their states, which they do in training mode only, without dropout.

    Their own rates become 0; those of the model's configuration, which is saved, stay.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            layer.training = True
            without_dropout(layer)
            if config := getattr(layer, "config", None):
                layer.config = without_dropout(copy.copy(config))


def without_dropout(owner: Any) -> Any:
    """Set an object's rates of dropout to 0, in place."""
    for name, value in list(vars(owner).items()):
        if "drop" in name and isinstance(value, float):
            setattr(owner, name, 0.0)
    return owner


def merge_adapters(adapters: PeftModel) -> PreTrainedModel:
    """Return the plain model with its adapters merged into its weights."""
    return cast("PreTrainedModel", adapters.merge_and_unload())
