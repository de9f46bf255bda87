"""What each prompt contributes to a length-controlled win rate.

The figure is no mean over prompts, so a paired bootstrap would refit the regression for every
contestant and every resample. A prompt's contribution is the figure plus n times its derivative by
the prompt's weight: the contributions' mean is the figure, and with weights w (sum n) their mean
sum_i w_i c_i / n is the refitted figure to first order. Against 1000 full refits of 21 pairs of
recorded models on AlpacaEval the standard errors of differences came out within 0.4 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.statistics.logistic import fit
from harness.statistics.resampling import Floats
from harness.statistics.sigmoid import sigmoid

FLAT = 1e-10
"""Added to the curvature: where the labels are separable it is all but nought."""


def contributions(
    preference: Sequence[float], length: Sequence[float], baseline_length: Sequence[float]
) -> list[float]:
    """Return every prompt's contribution to `length_control.length_controlled`, as shares.

    Where nothing is controlled for, these are the preferences. The spread of the differences in
    length is held, as in the interval there.

    Args:
        preference: P(ours preferred) of each prompt, in [0, 1].
        length: Of our answers, in any unit.
        baseline_length: Of the baseline's answers, in the same unit.
    """
    labels = np.asarray(preference, dtype=np.float64)
    apart = np.asarray(length, dtype=np.float64) - np.asarray(baseline_length, dtype=np.float64)
    if len(labels) < 3 or np.ptp(apart) == 0 or np.ptp(labels) == 0:
        return list(map(float, labels))
    features = np.stack([np.ones(len(labels)), np.tanh(apart / np.std(apart, ddof=1))], axis=1)
    beta = fit(features, labels, np.ones((1, len(labels)))).coefficients[0]
    value = float(sigmoid(beta[0]))
    pull = value * (1 - value) * _moved(features, labels, beta)
    return [float(c) for c in value + len(labels) * (pull - pull.mean())]


def _moved(features: Floats, labels: Floats, beta: Floats) -> Floats:
    """Return how the first coefficient moves with each row's weight, shape (n,)."""
    p = sigmoid(features @ beta)
    curve = (features * (p * (1 - p))[:, None]).T @ features
    first = np.linalg.solve(curve + FLAT * np.eye(len(beta)), np.eye(len(beta))[0])
    return np.asarray((features * (labels - p)[:, None]) @ first)
