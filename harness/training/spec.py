"""What `harness train NAME` reads: an objective plus its schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config import Component
from harness.protocols import (
    GenerationEngine,
    Objective,
    Pairing,
    PolicySource,
    PreferenceOracle,
    PromptSource,
    Sampling,
)
from harness.training.loop import Optimiser


class TrainSpec(Component):
    """One training method in one setting."""

    method: str
    """What tables call it."""
    objective: Objective
    iterations: int = Field(gt=0)
    """T: how often the policy is sampled, compared and optimised."""
    reference: Literal["initial", "previous"] = "initial"
    """π_ref: the policy that training began with, or the one that each iteration begins with."""
    samples: int = Field(gt=1)
    """K: responses a prompt."""
    pairing: Pairing
    policy: PolicySource
    """π_1."""
    prompts: PromptSource
    oracle: PreferenceOracle
    engine: GenerationEngine
    sampling: Sampling
    max_length: int = Field(2048, gt=0)
    """Pairs with a longer sequence, in tokens with the prompt, are left out and counted."""
    optimiser: Optimiser
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; the masters are float32."""
    tolerance: float = Field(1e-4, gt=0)
    """How far, in nats, live log-probabilities may lie from the stored ones of π_t at first."""
    seed: int = 0
