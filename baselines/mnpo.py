"""MNPO: multiplayer Nash preference optimisation, time-dependent (arXiv 2509.23102).

INPO against several previous policies: the one that generated the samples and those before it.
Differs from the official code: that averages log-probabilities over tokens (`per_token: true`), so
that its margin never comes near the target of 1/(2η) nats; the equation has the sum. Its weights
are read from a key that its trainer ignores, so that it always takes the plain mean; here they are
used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field, model_validator
from torch import Tensor

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch


def mnpo_margin(
    batch: PairBatch, *, eta: float, tau: float, weights: Sequence[float], per_token: bool = False
) -> Tensor:
    """Return h_t, the contrast to the reference and the previous policies, shape (batch,).

    h = Δπ − (τ/η) Δπ_ref − (1 − τ/η) Σ_j λ_j Δπ_{t−j}, where Δp = log p(y_w)/p(y_l) and λ are the
    weights of the available previous policies, normalised to sum to 1. It is written as a mean
    over j, so that it is exactly 0 where all policies agree.
    """
    available = {
        n: w for n, w in zip(anchor_names(weights), weights, strict=True) if n in batch.anchors
    }
    margin = batch.policy.chosen.new_zeros(())
    for name, weight in available.items():
        policy_ratios = batch.policy - batch.anchors[name]
        reference_ratios = batch.anchors["reference"] - batch.anchors[name]
        if per_token:
            policy_ratios, reference_ratios = (
                policy_ratios / batch.lengths,
                reference_ratios / batch.lengths,
            )
        h = policy_ratios.contrast() - tau / eta * reference_ratios.contrast()
        margin = margin + weight / sum(available.values()) * h
    return margin


def mnpo_loss(
    batch: PairBatch, *, eta: float, tau: float, weights: Sequence[float], per_token: bool = False
) -> Tensor:
    """Return the squared distance of the margin from 1/(2η), one per pair, shape (batch,).

    Args:
        batch: log-probabilities summed over the response, in nats.
        eta: η, the inverse step size; the target is 1/(2η) nats.
        tau: τ, the strength of the KL pull towards the reference.
        weights: λ, one per previous policy, newest (π_t) first; with a single one it is INPO.
        per_token: divide log-probabilities by the response's length, as the official code does.
    """
    margin = mnpo_margin(batch, eta=eta, tau=tau, weights=weights, per_token=per_token)
    return (margin - 1 / (2 * eta)) ** 2


def anchor_names(weights: Sequence[float]) -> list[Anchor]:
    """Return the anchors that weights belong to: `previous`, `previous-2`, ..."""
    return ["previous", *(f"previous-{j}" for j in range(2, len(weights) + 1))]


class MNPO(Component):
    """The objective with its constants."""

    win_rates: ClassVar[bool] = False
    eta: float = Field(gt=0)
    tau: float = Field(ge=0)
    weights: tuple[float, ...] = Field(min_length=1)
    per_token: bool = False

    @model_validator(mode="after")
    def _check_weights(self) -> MNPO:
        if self.tau > self.eta:
            raise ValueError(f"tau must not exceed eta ({self.tau} > {self.eta})")
        if self.weights[0] <= 0 or min(self.weights) < 0:
            raise ValueError("weights must not be negative, and the first must be positive")
        return self

    @property
    def anchors(self) -> frozenset[Anchor]:
        """The reference and as many previous policies as there are weights."""
        return frozenset({"reference", *anchor_names(self.weights)})

    @property
    def target(self) -> float:
        """The value that the loss pulls the margin to, in nats."""
        return 1 / (2 * self.eta)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return mnpo_loss(
            batch, eta=self.eta, tau=self.tau, weights=self.weights, per_token=self.per_token
        )

    def margin(self, batch: PairBatch) -> Tensor:
        """Return h per pair, shape (batch,)."""
        return mnpo_margin(
            batch, eta=self.eta, tau=self.tau, weights=self.weights, per_token=self.per_token
        )
