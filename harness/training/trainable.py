"""A model made ready for training as the settings say, and made whole again for who comes after."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from harness.scoring.scorer import Scorer, check_architecture
from harness.training.adapters import adapt
from harness.training.distributed import World, gathered, shard
from harness.training.optimisers import Optimiser

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Trainable:
    """A model in training; changed in place."""

    def __init__(self, model: PreTrainedModel, settings: Optimiser) -> None:
        """Check that the model can be trained packed, and prepare it.

        Raises:
            PolicyError: its architecture does not fit.
            MissingDependencyError: adapters are asked for without peft.
        """
        check_architecture(model)
        self.model = model
        self.settings = settings
        self.sharded: Scorer | None = None
        self.adapters = adapt(model, settings.lora) if settings.lora else None
        model.train()  # dropout is never applied: live and frozen must be alike
        for module in model.modules():
            if hasattr(module, "p") and type(module).__name__ == "Dropout":
                module.p = 0.0
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def scorer(self, dtype: str) -> Scorer:
        """Return the function of packed rows that is differentiated."""
        scorer = Scorer(self.model, dtype)
        if self.settings.compile:
            scorer.compiled()
        if World.here().size > 1:
            shard(scorer, self.settings.nodes, self.settings.offload)
        self.sharded = scorer if World.here().size > 1 else None
        return scorer

    def whole(self) -> PreTrainedModel:
        """Return a plain model with all its weights, adapters drawn into them.

        Called by every process; of several the first one's only is whole.
        """
        if self.adapters is not None:
            return cast("PreTrainedModel", self.adapters.merge_and_unload())
        if self.sharded is None:
            return self.model
        weights = gathered(self.sharded)
        whole: PreTrainedModel = type(self.model)(self.model.config)
        if weights:
            whole.load_state_dict(weights)
        whole.generation_config = self.model.generation_config
        return whole
