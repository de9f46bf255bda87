"""Methods of the literature whose update of a policy is in closed form, on exact games.

They need the win rate of every action under the policy itself, which a language model's pairs do
not give: they are played here and cannot be trained. u(π) = P π; every line ends in a softmax; τ
weighs the KL to π_ref. Magnetic mirror descent (arXiv 2206.05825) with the step h is INPO's
equation 5 with η = 1/h + τ, to the last digit, and needs no rule of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from harness.core.config import Component
from harness.statistics.resampling import Floats
from harness.statistics.zero_sum import softmax, solve_regularized, win_rates


class ClosedForm(Component):
    """A method on exact games without pairs: a file of configs/dynamics."""

    method: str
    """Its name in tables."""
    rule: Literal["omwu", "nash-md", "egpo", "nash-mp", "nash-prox"]
    """`omwu`: optimistic multiplicative weights (arXiv 2512.24818). `nash-md`: its opponent is the
    mixture with π_ref (2312.00886). `egpo`: an extra-gradient step (2503.08942). `nash-mp`: two
    steps of mirror prox (2505.19731, version 1). `nash-prox`: the proximal point itself (its
    version 2), solved to rounding."""
    step: float = Field(gt=0)
    """h; of `nash-mp` and `nash-prox` the paper's η."""
    tau: float = Field(0.0, ge=0)
    """τ; of `omwu` there is none."""

    @model_validator(mode="after")
    def _check_tau(self) -> ClosedForm:
        if (self.rule == "omwu") != (self.tau == 0):
            raise ValueError("tau: it is positive, and 0 for omwu, which has no reference")
        if self.rule in ("nash-md", "egpo") and self.step * self.tau > 1:
            raise ValueError("step: at most 1 / tau, so that the mixture has no negative weight")
        return self

    def update(self, preference: Floats, reference: Floats, policies: Sequence[Floats]) -> Floats:
        """Return π_{t+1}, shape (rows, actions).

        Args:
            preference: P(i ≻ j), shape (rows, actions, actions).
            reference: π_ref, shape (rows, actions).
            policies: π_1 … π_t, each of shape (rows, actions).
        """
        h, pull = self.step, self.step * self.tau
        prior, current = np.log(reference), np.log(policies[-1])
        rates = win_rates(preference, policies[-1])
        mixture = (1 - pull) * current + pull * prior
        match self.rule:
            case "omwu":
                before = win_rates(preference, policies[-2]) if len(policies) > 1 else rates
                return softmax(current + h * (2 * rates - before))
            case "nash-md":
                return softmax(mixture + h * win_rates(preference, softmax(mixture)))
            case "egpo":
                half = softmax(mixture + h * rates)
                return softmax(mixture + h * win_rates(preference, half))
            case "nash-mp":
                half = self._prox(current, prior, rates)
                return self._prox(current, prior, win_rates(preference, half))
        anchor = softmax((h * prior + current) / (1 + h))
        return solve_regularized(preference, anchor, self.tau * (1 + h) / h).policy

    def _prox(self, current: Floats, prior: Floats, rates: Floats) -> Floats:
        h = self.step
        return softmax((h * prior + current + h / self.tau * rates) / (1 + h))
