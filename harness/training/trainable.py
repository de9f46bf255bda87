"""A model made ready for training as the settings say, and made whole again for who comes after."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from harness.training.adapters import adapt
from harness.training.optimisers import Optimiser
from harness.training.scorer import Scorer, check_architecture

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
        return scorer.compiled() if self.settings.compile else scorer

    def whole(self) -> PreTrainedModel:
        """Return a plain model, with its adapters drawn into its weights."""
        if self.adapters is None:
            return self.model
        return cast("PreTrainedModel", self.adapters.merge_and_unload())
