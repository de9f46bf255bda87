"""Training methods as exact dynamics: objective and schedule applied to policies as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.core.iterations import Fit, PeriodicReference, fit_anchors
from harness.core.seeds import derive
from harness.protocols import Anchor, Objective, PairSource, PopulationSolver
from harness.statistics.resampling import Floats
from harness.statistics.zero_sum import softmax, win_rates
from harness.theory.closed_form import ClosedForm
from harness.theory.mirror import Trajectory
from harness.theory.nash import kl
from harness.theory.pairs import IndependentPairs
from harness.theory.population import Newton, Population
from harness.types import Advance

PROBABILITY_FLOOR = 1e-12
"""The smallest probability of an action after a fit: below it, rounding hides its pairs."""


class Method(Component):
    """A training method on exact games: a file of configs/dynamics."""

    method: str
    """Its name in tables; it also seeds the sampled pairs."""
    objective: Objective
    reference: Literal["initial", "previous"] | PeriodicReference = "initial"
    """π_ref: π_1, the policy that each fit starts from, or the newest one, moved periodically."""
    fits: list[Fit] = Field(default=[Fit()], min_length=1)
    """The fits of each iteration to its pairs, in order."""
    pairs: PairSource = IndependentPairs()
    solver: PopulationSolver = Newton()


@dataclass
class PolicyState:
    """The policies of a method by name, each of shape (rows, actions)."""

    reference: Floats
    policies: dict[str, list[Floats]] = field(default_factory=dict)

    def history(self, name: str) -> list[Floats]:
        """Return all policies under a name, from π_1 to the newest."""
        return self.policies.setdefault(name, [self.reference])

    def anchors(self, method: Method, fit: Fit, t: int) -> dict[Anchor, Floats]:
        """Return the anchors of a fit in iteration t."""
        return fit_anchors(
            method.reference,
            t,
            starts=self.history(fit.start),
            policies=self.history("policy"),
            needed=method.objective.anchors,
        )


def play(
    method: Method | ClosedForm,
    preference: Floats,
    reference: Floats,
    *,
    record: Sequence[int],
    seed: int = 0,
    advance: Advance = lambda _: None,
) -> Trajectory:
    """Run a method from π_1 = π_ref; `record` lists the T of the π_T to keep, ascending, from 1.

    Raises:
        CheckError: an iteration's loss has no minimiser.
    """
    rng = np.random.default_rng(derive(seed, "pairs", method.method))
    state = PolicyState(reference)
    total, pull_total = np.zeros_like(reference), np.zeros(len(reference))
    records: list[tuple[Floats, Floats, Floats]] = []
    for t in range(1, record[-1] + 1):
        policy = state.history("policy")[-1]
        total, pull_total = total + policy, pull_total + kl(policy, reference)
        if t in record:
            records.append((policy, total / t, pull_total / t))
        if t < record[-1]:
            iterate(method, preference, state, t, rng)
        advance(1)
    last, mixture, pull = (np.stack(values) for values in zip(*records, strict=True))
    return Trajectory(record, last, mixture, pull)


def iterate(
    method: Method | ClosedForm,
    preference: Floats,
    state: PolicyState,
    t: int,
    rng: np.random.Generator,
) -> None:
    """Draw the pairs of π_t, and add the policy of each fit to the state."""
    if isinstance(method, ClosedForm):
        policies = state.history("policy")
        policies.append(method.update(preference, state.reference, policies))
        return
    policy = state.history("policy")[-1]
    weights = method.pairs.weights(preference, policy, rng)
    rates = win_rates(preference, policy)
    for fit in method.fits:
        anchors = state.anchors(method, fit, t)
        population = Population(method.objective, preference, weights, rates, anchors)
        state.history(fit.result).append(fit_policy(method.solver, population))


def fit_policy(solver: PopulationSolver, population: Population) -> Floats:
    """Return the policy that minimises the population loss, starting from `previous`."""
    start = np.log(population.anchors["previous"])
    policy = np.maximum(softmax(solver.solve(population, start)), PROBABILITY_FLOOR)
    normalized: Floats = policy / policy.sum(-1, keepdims=True)
    return normalized
