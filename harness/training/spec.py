"""What `harness train NAME` reads: an objective plus its schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.core.config import Component, build, from_data, load, merge, to_data
from harness.core.iterations import Fit, PeriodicReference
from harness.protocols import (
    GenerationEngine,
    Launcher,
    Objective,
    Pairing,
    PolicySource,
    PreferenceOracle,
    PromptSource,
    Sampling,
)
from harness.training.optimisers import OptimiserSettings
from harness.training.pairing import compares_all

ANCHOR = re.compile(r"reference|previous(-[2-9]\d*|-1\d+)?")


class TrainSpec(Component):
    """One training method in one setting."""

    method: str
    """What tables call it."""
    objective: Objective
    iterations: int = Field(gt=0)
    """T: how often the policy is sampled, compared and optimised."""
    reference: Literal["initial", "previous"] | PeriodicReference = "initial"
    """π_ref: the policy that training began with, the one that each fit begins with, or the newest
    one at every so many iterations."""
    fits: list[Fit] = Field([Fit()], min_length=1)
    """What each iteration fits to its pairs, in order."""
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
    keep_truncated: bool = False
    """Whether responses that were cut off at `max_tokens` take part; they are counted if not."""
    head_to_head_prompts: int = Field(0, ge=0)
    """Prompts of each iteration that are not trained on; there the oracle compares a response of
    the policy that was made with one of the policy before. 0: no contest."""
    optimiser: OptimiserSettings
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the model computes in; the masters are float32."""
    tolerance: float = Field(1e-4, gt=0)
    """How far, in nats, live log-probabilities may lie from the stored ones of π_t at first."""
    seed: int = 0
    changes: Mapping[int, Mapping[Literal["objective", "optimiser"], Mapping[str, Any]]] = {}
    """What is set otherwise from an iteration on, by its number: keys of these two."""
    launcher: Launcher = Field(
        default_factory=lambda: build(load("launcher", "local")), exclude=True
    )
    """Where it is done; it changes no result."""

    @model_validator(mode="after")
    def _check_objective(self) -> TrainSpec:
        unknown = sorted(name for name in self.objective.anchors if not ANCHOR.fullmatch(name))
        if unknown:
            raise ValueError(f"objective: no anchor is called {', '.join(unknown)}")
        if self.objective.win_rates and not compares_all(self.pairing, self.samples):
            raise ValueError(
                "objective: it reads win rates, for which the pairing must compare all responses "
                "with each other: use BestWorst, MaxRandom or AllPairs of harness.training.pairing"
            )
        if self.fits[-1].result != "policy":
            raise ValueError("fits: the last one must result in `policy`")
        return self

    @model_validator(mode="after")
    def _check_head_to_head_prompts(self) -> TrainSpec:
        count = self.prompts.count
        if count is not None and self.head_to_head_prompts >= count:
            raise ValueError(
                f"head_to_head_prompts: of {count} prompts some must be left to train on"
            )
        return self

    @model_validator(mode="after")
    def _check_changes(self) -> TrainSpec:
        outside = [t for t in self.changes if not 1 < t <= self.iterations]
        if outside:
            raise ValueError(
                f"changes: {outside[0]} is no iteration of 2 to {self.iterations}, from which on "
                "something could be set otherwise"
            )
        for t in self.changes:
            self.for_iteration(t)
        return self

    def for_iteration(self, t: int) -> TrainSpec:
        """Return what holds in iteration t.

        Raises:
            ConfigError: a change sets what is not there.
        """
        changes: dict[str, Any] = {}
        for start, change in sorted(self.changes.items()):
            changes = (
                merge(changes, {str(k): v for k, v in change.items()}) if start <= t else changes
            )
        updates = {
            name: from_data(merge(to_data(getattr(self, name)), changes[name])) for name in changes
        }
        return self.model_copy(update=updates)
