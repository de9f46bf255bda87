"""Unpenalised logistic regression on soft labels, refitted for many weight vectors at once.

Newton's method on the weighted log-likelihood sum_i w_i (y_i log p_i + (1 - y_i) log(1 - p_i)),
p = sigmoid(X beta). Where it does not converge (the labels are separable, or the features are
collinear) there is no finite or no unique optimum, and that fit alone is repeated with a ridge
penalty RIDGE / 2 * |beta|^2, which makes it finite, unique and reproducible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats, Mask

RIDGE = 1e-4
STEPS, RIDGE_STEPS = 25, 100
MAX_STEP = 4.0
"""The longest step, in the norm of the coefficients: far from the optimum Newton overshoots."""
GRADIENT_TOLERANCE = 1e-9
"""Largest gradient of a converged fit, relative to the sum of the weights."""
CURVATURE_TOLERANCE = 1e-10
"""Smallest eigenvalue of a usable Hessian, relative to the sum of the weights."""


@dataclass(frozen=True, slots=True)
class LogisticFits:
    """Fits, one row per weight vector."""

    coefficients: Floats
    """Shape (rounds, k)."""
    converged: Mask
    """Shape (rounds,): False where only the ridge made the optimum finite and unique."""


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-logits)), in the shape of the logits.

    By numpy alone: importing scipy.special takes a quarter of a second.
    """
    with np.errstate(over="ignore"):  # exp overflows to infinity, and the result to 0
        return np.asarray(1 / (1 + np.exp(-logits)))


def fit(features: Floats, labels: Floats, weights: Floats) -> LogisticFits:
    """Return the coefficients for every weight vector.

    Args:
        features: Shape (n, k); a constant column is the intercept.
        labels: Shape (n,), each in [0, 1].
        weights: Shape (rounds, n), non-negative.
    """
    beta, converged = _newton(features, labels, weights, 0.0, STEPS)
    if not converged.all():
        unconverged = ~converged
        beta[unconverged], _ = _newton(features, labels, weights[unconverged], RIDGE, RIDGE_STEPS)
    return LogisticFits(beta, converged)


def _newton(
    features: Floats, labels: Floats, weights: Floats, ridge: float, steps: int
) -> tuple[Floats, Mask]:
    """Return the coefficients after at most `steps` steps, and the mask of converged fits."""
    n, k = features.shape
    products = (features[:, :, None] * features[:, None, :]).reshape(n, k * k)
    scale = weights.sum(axis=1)
    beta = np.zeros((len(weights), k))
    converged = np.zeros(len(weights), dtype=bool)
    for _ in range(steps):
        p = sigmoid(beta @ features.T)
        gradient = (weights * (labels - p)) @ features - ridge * beta
        hessian = ((weights * p * (1 - p)) @ products).reshape(-1, k, k) + ridge * np.eye(k)
        usable = _is_positive_definite(hessian, scale)
        converged = usable & (np.abs(gradient).max(axis=1) <= GRADIENT_TOLERANCE * scale)
        active = usable & ~converged
        if not active.any():
            break
        beta[active] += _newton_step(hessian[active], gradient[active])
    return beta, converged


def _is_positive_definite(hessian: Floats, scale: Floats) -> Mask:
    smallest = np.linalg.eigvalsh(hessian)[:, 0]
    return np.asarray(smallest > CURVATURE_TOLERANCE * scale)


def _newton_step(hessian: Floats, gradient: Floats) -> Floats:
    step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, MAX_STEP / np.maximum(length, MAX_STEP)))
