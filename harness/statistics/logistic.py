"""The logistic function by numpy alone: scipy.special takes a third of a second to import.

Logistic regression on soft labels without a penalty, refitted for many weight vectors at once.

Newton's method on the weighted log-likelihood sum_i w_i (y_i log p_i + (1 - y_i) log(1 - p_i)),
p = sigmoid(X beta). Where it does not settle (the labels are separable, or the features do not tell
the coefficients apart) there is no finite or no single optimum, and that fit alone is made again
with a ridge of RIDGE / 2 * |beta|^2: finite, unique, and the same for everyone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats, Mask


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-logits)), in the shape of the logits."""
    with np.errstate(over="ignore"):  # exp is then infinite and the result the nought that it is
        return np.asarray(1 / (1 + np.exp(-logits)))


RIDGE = 1e-4
STEPS, RIDGE_STEPS = 25, 100
MAX_STEP = 4.0
"""The longest step, in the norm of the coefficients: far from the optimum Newton overshoots."""
GRADIENT_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class LogisticFits:
    """What was fitted, one row a weighting."""

    coefficients: Floats
    """Shape (rounds, k)."""
    converged: Mask
    """Shape (rounds,): False where only the ridge made the optimum finite and single."""


def fit(features: Floats, labels: Floats, weights: Floats) -> LogisticFits:
    """Return the coefficients of every weighting.

    Args:
        features: Shape (n, k); a constant column is the intercept.
        labels: Shape (n,), each in [0, 1].
        weights: Shape (rounds, n), not negative.
    """
    beta, converged = _newton(features, labels, weights, 0.0, STEPS)
    if not converged.all():
        unconverged = ~converged
        beta[unconverged], _ = _newton(features, labels, weights[unconverged], RIDGE, RIDGE_STEPS)
    return LogisticFits(beta, converged)


def _newton(
    features: Floats, labels: Floats, weights: Floats, ridge: float, steps: int
) -> tuple[Floats, Mask]:
    """Return the coefficients after at most `steps` steps, and which of them have settled."""
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
    """Say which of the matrices, shape (rounds, k, k), are safely positive definite."""
    smallest = np.linalg.eigvalsh(hessian)[:, 0]
    return np.asarray(smallest > 1e-10 * scale)


def _newton_step(hessian: Floats, gradient: Floats) -> Floats:
    """Return Newton's step, cut to the longest that is allowed."""
    step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1.0, MAX_STEP / np.maximum(length, MAX_STEP)))
