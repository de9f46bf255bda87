"""A training configuration: an objective and its schedule, as `harness train NAME` loads them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.core.config import Component, build, from_data, load, merge, names, to_data
from harness.core.iterations import Fit, PeriodicReference
from harness.protocols import (
    GenerationEngine,
    Launcher,
    Objective,
    Pairing,
    PolicySource,
    PreferenceOracle,
    PromptSource,
    RewardOracle,
    Sampling,
    ServedEngine,
)
from harness.training.optimisers import OptimiserSettings
from harness.training.pairing import compares_all
from harness.training.preferences import PreferencePairs

SAMPLER = re.compile(r"reference|previous-([2-9]\d*|1\d+)")
ANCHOR = re.compile(r"reference|previous(-[2-9]\d*|-1\d+)?")


class TrainSpec(Component):
    """One training method in one setting."""

    method: str
    """The method's name in tables."""
    objective: Objective
    iterations: int = Field(gt=0)
    """T: how often the policy is sampled, compared and optimised."""
    reference: Literal["initial", "previous"] | PeriodicReference = "initial"
    """π_ref: the policy that training starts from, the one that each fit starts from, or the newest
    policy, updated every `every` iterations."""
    fits: list[Fit] = Field([Fit()], min_length=1)
    """What each iteration fits to its pairs, in order."""
    samples: int = Field(gt=0)
    """K: responses a prompt."""
    sample_from: list[str] = Field(["policy"], min_length=1)
    """Which policies the K responses are sampled from, in equal shares: `policy` (π_t) first, then
    `reference`, or `previous-2` (π_{t−1}), `previous-3`, ...; π_1 where there is none yet."""
    pairs: PreferencePairs | None = None
    """Pairs of a file or data set, which are trained on in place of samples, or beside them."""
    pairing: Pairing
    policy: PolicySource
    """π_1."""
    prompts: PromptSource
    oracle: PreferenceOracle
    engine: GenerationEngine
    sampling: Sampling
    max_length: int = Field(2048, gt=0)
    """Tokens of a prompt and its response; pairs with a longer sequence are dropped and counted."""
    keep_truncated: bool = False
    """Whether responses truncated at `max_tokens` are compared; if not, they are counted."""
    head_to_head_prompts: int = Field(0, ge=0)
    """Prompts of each iteration that are held out of training; on them the oracle compares a
    response of π_{t+1} with one of π_t. 0: no head-to-head stage."""
    optimiser: OptimiserSettings
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The dtype of the forward and backward pass; master weights are float32."""
    tolerance: float = Field(1e-4, gt=0)
    """The largest difference, in nats, between live log-probabilities and the stored ones of π_t at
    the first step."""
    seed: int = 0
    changes: Mapping[int, Mapping[Literal["objective", "optimiser"], Mapping[str, Any]]] = {}
    """Keys of `objective` and `optimiser` that change from an iteration on, by its number."""
    launcher: Launcher = Field(
        default_factory=lambda: build(load("launcher", "local")), exclude=True
    )
    """Where the work runs; it changes no result."""

    @model_validator(mode="after")
    def _check_objective(self) -> TrainSpec:
        unknown = sorted(name for name in self.objective.anchors if not ANCHOR.fullmatch(name))
        if unknown:
            raise ValueError(f"objective: there is no anchor {', '.join(unknown)}")
        if self.objective.win_rates and not self._compares_all():
            raise ValueError(
                "objective: it reads win rates, for which the pairing must compare all responses "
                "with each other: use BestWorst, MaxRandom or AllPairs of "
                "harness.training.pairing, and no pairs of a data set but as candidates"
            )
        if self.fits[-1].result != "policy":
            raise ValueError("fits: the last one must result in `policy`")
        return self

    @model_validator(mode="after")
    def _check_samplers(self) -> TrainSpec:
        samplers = self.sample_from
        unknown = [name for name in samplers[1:] if not SAMPLER.fullmatch(name)]
        if samplers[0] != "policy" or unknown or len(set(samplers)) < len(samplers):
            raise ValueError(
                "sample_from: it begins with policy, then come reference, previous-2, previous-3, "
                f"..., each once, got {', '.join(samplers)}"
            )
        if self.samples % len(samplers):
            count = len(samplers)
            raise ValueError(f"samples: {self.samples} are no equal shares of {count} policies")
        if "reference" in samplers and self.reference == "previous":
            raise ValueError("sample_from: with reference=previous the reference is the policy")
        if missing := sorted(getattr(self.objective, "samplers", set()) - {*samplers}):
            raise ValueError(
                f"sample_from: the objective needs responses of {missing[0]}: "
                f"set it to [policy, {missing[0]}]"
            )
        return self

    @model_validator(mode="after")
    def _check_rewards(self) -> TrainSpec:
        if "rewards" not in self.reads:
            return self
        if self.pairs_mode(1) == "winners":
            raise ValueError("objective: it reads rewards, and no oracle is asked of winners")
        asked = any(self.asks_oracle(t) for t in range(1, self.iterations + 1))
        if asked and not isinstance(self.oracle, RewardOracle):
            raise ValueError(
                "objective: it reads scalar rewards, which the oracle "
                f"{type(self.oracle).__name__} has not; those that have: "
                f"{', '.join(reward_oracles())}"
            )
        return self

    @property
    def reads(self) -> frozenset[str]:
        """What the objective reads that not every batch has: of `rewards` and `samplers`."""
        return frozenset(getattr(self.objective, "reads", ()))

    @property
    def share(self) -> int:
        """The responses to a prompt that each policy samples."""
        return self.samples // len(self.sample_from)

    def sampler(self, index: int) -> str:
        """Return the name of the policy that has sampled a response, or `data`."""
        return self.sample_from[index // self.share] if index < self.samples else "data"

    def _compares_all(self) -> bool:
        """Say whether in every iteration all responses to a prompt are compared with each other."""
        return all(
            self.asks_oracle(t)
            and self.players(t) > 1
            and compares_all(self.pairing, self.players(t))
            for t in range(1, self.iterations + 1)
        )

    @model_validator(mode="after")
    def _check_samples(self) -> TrainSpec:
        lone = [t for t in self._sampled_iterations() if self.players(t) < 2]
        if lone:
            raise ValueError(
                "samples: a pair needs two responses, of samples and of the data set's candidates "
                f"together: set at least 2, got {self.samples} in iteration {lone[0]}"
            )
        if self.pairs_mode(1) == "pairs" and self.head_to_head_prompts:
            raise ValueError(
                "head_to_head_prompts: the pairs of a data set come without a policy's samples to "
                "compare with: set it to 0"
            )
        return self

    def _sampled_iterations(self) -> list[int]:
        return [t for t in range(1, self.iterations + 1) if self.pairs_mode(t) != "pairs"]

    @property
    def pair_iterations(self) -> int:
        """The number of iterations that use the pairs of a data set: the first ones."""
        if self.pairs is None:
            return 0
        return min(self.pairs.iterations or self.iterations, self.iterations)

    def pairs_mode(self, t: int) -> Literal["pairs", "winners", "candidates"] | None:
        """Return how iteration t uses the pairs of a data set; None: it does not."""
        return self.pairs.mode if self.pairs and t <= self.pair_iterations else None

    def data_responses(self, t: int) -> int:
        """Return how many responses of a data set join the policy's samples of a prompt."""
        match self.pairs_mode(t):
            case "winners":
                return 1
            case "candidates":
                return 2 if self.pairs and self.pairs.responses == "both" else 1
        return 0

    def players(self, t: int) -> int:
        """Return how many responses to a prompt iteration t has."""
        return self.samples + self.data_responses(t)

    def asks_oracle(self, t: int) -> bool:
        """Say whether the oracle compares responses in iteration t."""
        return self.pairs_mode(t) not in ("pairs", "winners")

    @model_validator(mode="after")
    def _check_engine(self) -> TrainSpec:
        samples_several = self.iterations > 1 or self.head_to_head_prompts
        if samples_several and isinstance(self.engine, ServedEngine) and not self.engine.reload_url:
            raise ValueError(
                "engine: its server keeps one model, and later policies are sampled too: set "
                "engine.reload_url (vLLM's http://HOST:PORT/collective_rpc), or iterations=1 and "
                "head_to_head_prompts=0"
            )
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
                f"changes: {outside[0]} is not an iteration of 2 to {self.iterations}, from which "
                "a change could apply"
            )
        for t in self.changes:
            self.for_iteration(t)
        return self

    def for_iteration(self, t: int) -> TrainSpec:
        """Return the configuration of iteration t, with the changes up to it applied.

        Raises:
            ConfigError: a change sets an unknown key.
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


def reward_oracles() -> list[str]:
    """Return the names of configs/oracle whose oracles have a scalar reward."""
    return [name for name in names("oracle") if _has_rewards(name)]


def _has_rewards(name: str) -> bool:
    module, _, attribute = str(load("oracle", name).get("use")).partition(":")
    return hasattr(getattr(importlib.import_module(module), attribute, None), "score")
