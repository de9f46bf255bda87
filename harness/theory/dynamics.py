"""Methods as dynamics: objective plus schedule, as in training, on policies that are vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import Field

from harness.config import Component
from harness.protocols import Anchor, Objective
from harness.seeds import derive
from harness.statistics.resampling import Floats
from harness.theory.measures import kl, softmax, win_rates
from harness.theory.mirror import Trajectory
from harness.theory.pairs import Independent, PairSource
from harness.theory.population import Newton, Population, Solver
from harness.types import Advance

FLOOR = 1e-12
"""The least probability that a fit leaves to an action: below it rounding hides its pairs."""


class Every(Component):
    """A reference that is moved up to the newest policy every so many iterations."""

    every: int = Field(gt=0)


class Fit(Component):
    """One minimisation over an iteration's pairs, with names as in `harness train`'s schedules."""

    start: str = "policy"
    """Where the fit begins: what its objective calls `previous`."""
    makes: str = "policy"
    """What its result is called; `policy` is the one that the next iteration samples."""


class Method(Component):
    """A training method on exact games: a file of configs/theory."""

    method: str
    """What tables call it."""
    objective: Objective
    reference: Literal["initial", "previous"] | Every = "initial"
    """π_ref: π_1, the policy that each fit begins with, or the newest at every so many."""
    fits: list[Fit] = Field(default=[Fit()], min_length=1)
    """What each iteration fits to its pairs, in order."""
    pairs: PairSource = Independent()
    solver: Solver = Newton()


@dataclass
class State:
    """The policies that a method carries along, by name, shape (rows, actions) each."""

    reference: Floats
    made: dict[str, list[Floats]] = field(default_factory=dict)

    def of(self, name: str) -> list[Floats]:
        """Return π_1 and what was made under a name, the newest last."""
        return self.made.setdefault(name, [self.reference])

    def anchors(self, method: Method, fit: Fit, t: int) -> dict[Anchor, Floats]:
        """Return the anchors of a fit: `previous-2` is the one before `previous`, and so on."""
        begun = self.of(fit.start)
        found: dict[Anchor, Floats] = {"previous": begun[-1]}
        found |= {f"previous-{j}": begun[-j] for j in range(2, len(begun) + 1)}
        match method.reference:
            case "initial":
                found["reference"] = self.reference
            case "previous":
                found["reference"] = begun[-1]
            case Every(every=m):
                found["reference"] = self.of("policy")[(t - 1) // m * m]
        read = {"previous", *method.objective.anchors}
        return {name: policy for name, policy in found.items() if name in read}


def play(
    method: Method,
    preference: Floats,
    reference: Floats,
    *,
    record: Sequence[int],
    seed: int = 0,
    advance: Advance = lambda _: None,
) -> Trajectory:
    """Run a method from π_1 = π_ref; `record` says which π_T to keep, rising, from 1.

    Raises:
        CheckError: an iteration's loss has no minimiser.
    """
    rng = np.random.default_rng(derive(seed, "pairs", method.method))
    state = State(reference)
    total, pulled = np.zeros_like(reference), np.zeros(len(reference))
    kept: list[tuple[Floats, Floats, Floats]] = []
    for t in range(1, record[-1] + 1):
        policy = state.of("policy")[-1]
        total, pulled = total + policy, pulled + kl(policy, reference)
        if t in record:
            kept.append((policy, total / t, pulled / t))
        if t < record[-1]:
            iterate(method, preference, state, t, rng)
        advance(1)
    last, mixture, pull = (np.stack(found) for found in zip(*kept, strict=True))
    return Trajectory(record, last, mixture, pull)


def iterate(
    method: Method, preference: Floats, state: State, t: int, rng: np.random.Generator
) -> None:
    """Take the pairs of π_t and add to the state what each fit makes of them."""
    policy = state.of("policy")[-1]
    weights = method.pairs.weights(preference, policy, rng)
    rates = win_rates(preference, policy)
    for fit in method.fits:
        anchors = state.anchors(method, fit, t)
        population = Population(method.objective, preference, weights, rates, anchors)
        state.of(fit.makes).append(fitted(method.solver, population))


def fitted(solver: Solver, population: Population) -> Floats:
    """Return the policy that the objective makes of the pairs, starting from π_t."""
    start = np.log(population.anchors["previous"])
    policy = np.maximum(softmax(solver.solve(population, start)), FLOOR)
    found: Floats = policy / policy.sum(-1, keepdims=True)
    return found
