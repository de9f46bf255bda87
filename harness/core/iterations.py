"""The parts of an iteration that training and the exact dynamics of `harness theory` share."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Literal, TypeVar

from pydantic import Field

from harness.core.config import Component

PolicyT = TypeVar("PolicyT")
MatrixT = TypeVar("MatrixT")
Match = tuple[int, int]


class PeriodicReference(Component):
    """A reference that is replaced by the newest policy once in a number of iterations."""

    every: int = Field(gt=0)


class Fit(Component):
    """One minimisation of the objective over an iteration's pairs.

    Policies have names; a name means its newest policy, or π_1 where there is none yet.
    """

    start: str = "policy"
    """The policy that the fit starts from: what its objective calls `previous`."""
    result: str = "policy"
    """The name of the resulting policy; the next iteration samples from `policy`."""


def fit_anchors(
    reference: Literal["initial", "previous"] | PeriodicReference,
    t: int,
    *,
    starts: Sequence[PolicyT],
    policies: Sequence[PolicyT],
    needed: Collection[str],
) -> dict[str, PolicyT]:
    """Return the anchors of a fit in iteration t, by name.

    Args:
        reference: The rule for π_ref: π_1, the policy that the fit starts from, or a periodic one.
        t: The iteration, counted from 1.
        starts: All policies under the name that the fit starts from, π_1 first: `previous` is the
            last, `previous-2` the one before it, and so on.
        policies: π_1 … π_t.
        needed: The anchors to return where they exist; `previous` is always returned.
    """
    anchors = {"previous": starts[-1]}
    anchors |= {f"previous-{j}": starts[-j] for j in range(2, len(starts) + 1)}
    match reference:
        case "initial":
            anchors["reference"] = policies[0]
        case "previous":
            anchors["reference"] = starts[-1]
        case PeriodicReference(every=m):
            anchors["reference"] = policies[(t - 1) // m * m]
    return {name: policy for name, policy in anchors.items() if name in {"previous", *needed}}


def replay(
    rounds: Generator[Sequence[Match], MatrixT, list[Match]], matrix: MatrixT
) -> list[Match]:
    """Return the pairs that a pairing's rounds choose, given all comparisons at once."""
    try:
        next(rounds)
        while True:
            rounds.send(matrix)
    except StopIteration as end:
        return list(end.value)
