"""INPO: iterative Nash policy optimisation (arXiv 2407.00617, final version, equation 8).

`SoftINPO` is not in the paper, which rounds the preference model's probability to a label.
Proposition 6 asks for labels sampled with that probability; the soft loss is their expectation up
to a constant, so that it has the same minimiser with less noise. `docs/theory.md` measures what
rounding does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from harness.core.config import Component
from harness.protocols import Anchor
from harness.types import PairBatch

if TYPE_CHECKING:
    from torch import Tensor


def inpo_margin(batch: PairBatch, *, eta: float, tau: float) -> Tensor:
    """Return h_t(π, y_w, y_l), the contrast of log-ratios, in nats, shape (batch,).

    h = log π(y_w)/π(y_l) − (τ/η) log π_ref(y_w)/π_ref(y_l) − (1 − τ/η) log π_t(y_w)/π_t(y_l),
    with the terms in π_t grouped, so that it is exactly 0 where π = π_t = π_ref.
    """
    previous = batch.anchors["previous"]
    reference_contrast = (batch.anchors["reference"] - previous).contrast()
    return (batch.policy - previous).contrast() - tau / eta * reference_contrast


def inpo_loss(batch: PairBatch, *, eta: float, tau: float) -> Tensor:
    """Return the squared distance of the margin from 1/(2η), one per pair, shape (batch,).

    Args:
        batch: pairs of responses of π_t; log-probabilities summed over the response, in nats.
        eta: η, the inverse step size of the mirror descent; the target is 1/(2η) nats.
        tau: τ, the strength of the KL pull towards the reference; 0 is the paper's "w/o KL".

    The loss is the paper's. In practice, as in the paper's experiments, a pair is the best and the
    worst of K samples, not two independent samples as Proposition 6 assumes.
    """
    return (inpo_margin(batch, eta=eta, tau=tau) - 1 / (2 * eta)) ** 2


def inpo_soft_loss(batch: PairBatch, *, eta: float, tau: float) -> Tensor:
    """Return the squared distance of the margin from (P − ½)/η, one per pair, shape (batch,).

    Args:
        batch: as for `inpo_loss`; it needs `probability`, P(y_w ≻ y_l).
        eta: η, the inverse step size; for P = 1 the target is INPO's, 1/(2η) nats.
        tau: τ, the strength of the KL pull towards the reference.
    """
    return (inpo_margin(batch, eta=eta, tau=tau) - (batch.probability - 0.5) / eta) ** 2


def check_tau(eta: float, tau: float) -> None:
    """Check that the weights of reference and previous policy, τ/η and 1 − τ/η, are a mixture.

    Raises:
        ValueError: τ exceeds η.
    """
    if tau > eta:
        raise ValueError(f"tau must not exceed eta ({tau} > {eta})")


class INPO(Component):
    """INPO's loss with its two constants."""

    anchors: ClassVar[frozenset[Anchor]] = frozenset({"reference", "previous"})
    win_rates: ClassVar[bool] = False
    eta: float = Field(gt=0)
    tau: float = Field(ge=0)

    @model_validator(mode="after")
    def _check_tau(self) -> INPO:
        check_tau(self.eta, self.tau)
        return self

    @property
    def target(self) -> float:
        """The value that the loss pulls the margin to, in nats."""
        return 1 / (2 * self.eta)

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return inpo_loss(batch, eta=self.eta, tau=self.tau)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return h per pair, shape (batch,)."""
        return inpo_margin(batch, eta=self.eta, tau=self.tau)


class SoftINPO(Component):
    """The soft loss with INPO's two constants; the target depends on the pair."""

    anchors: ClassVar[frozenset[Anchor]] = INPO.anchors
    win_rates: ClassVar[bool] = False
    eta: float = Field(gt=0)
    tau: float = Field(ge=0)

    @model_validator(mode="after")
    def _check_tau(self) -> SoftINPO:
        check_tau(self.eta, self.tau)
        return self

    def __call__(self, batch: PairBatch) -> Tensor:
        """Return one loss per pair, shape (batch,)."""
        return inpo_soft_loss(batch, eta=self.eta, tau=self.tau)

    def margin(self, batch: PairBatch) -> Tensor:
        """Return h per pair, shape (batch,)."""
        return inpo_margin(batch, eta=self.eta, tau=self.tau)
