"""Logistic regression on soft labels without a penalty, refitted for many weight vectors at once.

Newton's method on the weighted log-likelihood sum_i w_i (y_i log p_i + (1 - y_i) log(1 - p_i)),
p = sigmoid(X beta). Where it does not settle (the labels are separable, or the features do not tell
the coefficients apart) there is no finite or no single optimum, and that fit alone is made again
with a ridge of RIDGE / 2 * |beta|^2: finite, unique, and the same for everyone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats, Mask
from harness.statistics.sigmoid import sigmoid

RIDGE = 1e-4
STEPS, RIDGE_STEPS = 25, 100
LONGEST = 4.0
"""The longest step, in the norm of the coefficients: far from the optimum Newton overshoots."""
SETTLED = 1e-9


@dataclass(frozen=True, slots=True)
class Fits:
    """What was fitted, one row a weighting."""

    coefficients: Floats
    """Shape (rounds, k)."""
    settled: Mask
    """Shape (rounds,): False where only the ridge made the optimum finite and single."""


def fit(features: Floats, labels: Floats, weights: Floats) -> Fits:
    """Return the coefficients of every weighting.

    Args:
        features: Shape (n, k); a constant column is the intercept.
        labels: Shape (n,), each in [0, 1].
        weights: Shape (rounds, n), not negative.
    """
    beta, settled = _newton(features, labels, weights, 0.0, STEPS)
    if not settled.all():
        odd = ~settled
        beta[odd], _ = _newton(features, labels, weights[odd], RIDGE, RIDGE_STEPS)
    return Fits(beta, settled)


def _newton(
    features: Floats, labels: Floats, weights: Floats, ridge: float, steps: int
) -> tuple[Floats, Mask]:
    """Return the coefficients after at most `steps` steps, and which of them have settled."""
    n, k = features.shape
    products = (features[:, :, None] * features[:, None, :]).reshape(n, k * k)
    scale = weights.sum(axis=1)
    beta = np.zeros((len(weights), k))
    settled = np.zeros(len(weights), dtype=bool)
    for _ in range(steps):
        p = sigmoid(beta @ features.T)
        slope = (weights * (labels - p)) @ features - ridge * beta
        curve = ((weights * p * (1 - p)) @ products).reshape(-1, k, k) + ridge * np.eye(k)
        usable = _invertible(curve, scale)
        settled = usable & (np.abs(slope).max(axis=1) <= SETTLED * scale)
        moving = usable & ~settled
        if not moving.any():
            break
        beta[moving] += _step(curve[moving], slope[moving])
    return beta, settled


def _invertible(curve: Floats, scale: Floats) -> Mask:
    """Say which of the matrices, shape (rounds, k, k), are safely positive definite."""
    smallest = np.linalg.eigvalsh(curve)[:, 0]
    return np.asarray(smallest > 1e-10 * scale)


def _step(curve: Floats, slope: Floats) -> Floats:
    """Return Newton's step, cut to the longest that is allowed."""
    step = np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, LONGEST / np.maximum(length, LONGEST)))
