"""A win rate with the length of the answers held equal, for any set of prompts.

AlpacaEval's generalised linear model (arXiv 2404.04475) without two of its parts, which exist for
its own 805 instructions only: the difficulty of each instruction, and the rows of a baseline that
was told to be concise or verbose. There is no penalty either; see `logistic`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.statistics.bootstrap import interval, spread
from harness.statistics.influence import contributions
from harness.statistics.logistic import fit
from harness.statistics.resampling import stream, weights
from harness.statistics.sigmoid import sigmoid
from harness.types import Estimate


def length_controlled(
    preference: Sequence[float],
    length: Sequence[float],
    baseline_length: Sequence[float],
    *,
    seed: int,
    rounds: int = 1000,
) -> Estimate:
    """Return the win rate that the model predicts for answers as long as the baseline's, percent.

    logit p = b + w tanh(d / std(d)) with d = length - baseline length, fitted on soft labels; the
    figure is 100 sigmoid(b). The interval comes from refits on resampled prompts, with std(d) held.
    Where all differences in length are equal, or all preferences are, there is nothing to control
    for, and the figure is the plain win rate. Where length alone tells wins from losses without an
    exception, the model has no optimum: the figure is then without an interval.

    Args:
        preference: P(ours preferred) of each prompt, in [0, 1].
        length: Of our answers, in any unit.
        baseline_length: Of the baseline's answers, in the same unit.
        seed: Of the resamples.
        rounds: How many resamples.

    Raises:
        CheckError: there are no preferences.
    """
    labels = np.asarray(preference, dtype=np.float64)
    apart = np.asarray(length, dtype=np.float64) - np.asarray(baseline_length, dtype=np.float64)
    if len(labels) < 3 or np.ptp(apart) == 0 or np.ptp(labels) == 0:
        return percent(interval(preference, seed=seed, rounds=rounds))
    features = np.stack([np.ones(len(labels)), np.tanh(apart / np.std(apart, ddof=1))], axis=1)
    whole = fit(features, labels, np.ones((1, len(labels))))
    value = float(sigmoid(whole.coefficients[0, 0]))
    if not whole.settled[0]:
        return percent(Estimate(value))
    refits = fit(features, labels, weights(len(labels), stream(seed), rounds))
    each = np.array(contributions(preference, length, baseline_length))
    return percent(spread(value, sigmoid(refits.coefficients[:, 0]), each - value))


def percent(share: Estimate) -> Estimate:
    """Return an estimate of a share as one in percent."""
    low, high, error = (
        None if part is None else 100 * part
        for part in (share.low, share.high, share.standard_error)
    )
    return Estimate(100 * share.value, low, high, error)
