"""Logistic regression on soft labels with an L1 penalty, refitted for many weight vectors at once.

The minimum of |beta|_1 + C sum_i w_i (-y_i log p_i - (1 - y_i) log(1 - p_i)), p = sigmoid(X beta).
`liblinear` stops where the published figures stopped (tol 1e-4). `refit` is a proximal Newton
method: each step minimises the quadratic model plus the penalty by coordinate descent, and is
halved until the objective falls. It goes on to SETTLED, for all weightings side by side.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import expit

from harness.statistics.resampling import Floats

STEPS, HALVINGS, SWEEPS = 60, 30, 500
SETTLED = 1e-8
"""The largest change of a coefficient in the last step."""
FLAT = 1e-10
"""Added to the curvature, so that a feature that is nought everywhere keeps a coefficient of 0."""
ROUNDING = 1e-13
"""How much of itself an objective may rise by: the sum of its rounding errors."""


def liblinear(features: Floats, labels: Floats, weights: Floats, strength: float) -> Floats:
    """Return the coefficients, shape (k,), that scikit-learn's liblinear finds for one weighting.

    A soft label y is a one of weight w y and a nought of weight w (1 - y): all ones first. That
    liblinear may stop at its 100th round without having met its tolerance is as published.

    Args:
        features: Shape (n, k).
        labels: Shape (n,), each in [0, 1].
        weights: Shape (n,), not negative.
        strength: C, the inverse of the penalty.
    """
    # here, because scikit-learn takes a second to import
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    known = LogisticRegression().get_params()
    # 1.8 deprecates `penalty`, 1.10 is without it; before, `l1_ratio` is not liblinear's
    absolute = {"penalty": "l1"} if known.get("penalty") == "l2" else {"l1_ratio": 1}
    fixed = {"fit_intercept": False, "random_state": 123, "tol": 1e-4, "max_iter": 100}
    model = LogisticRegression(solver="liblinear", C=strength, **fixed, **absolute)
    doubled = np.concatenate([weights * labels, weights * (1 - labels)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.vstack([features] * 2), np.repeat([1, 0], len(labels)), doubled)
    return np.asarray(model.coef_[0], dtype=np.float64)


def refit(
    features: Floats, labels: Floats, weights: Floats, strength: float, start: Floats
) -> Floats:
    """Return the coefficients of every weighting, shape (rounds, k).

    Args:
        features: Shape (n, k).
        labels: Shape (n,), each in [0, 1].
        weights: Shape (rounds, n), not negative.
        strength: C, the inverse of the penalty.
        start: Shape (k,): coefficients near the optima.
    """
    n, k = features.shape
    products = (features[:, :, None] * features[:, None, :]).reshape(n, k * k)
    beta = np.tile(start, (len(weights), 1))
    scaled = strength * weights
    pulled = (scaled * labels) @ features
    moving = np.arange(len(weights))
    for _ in range(STEPS):
        at, own = beta[moving], scaled[moving]
        p = expit(at @ features.T)
        slope = (own * p) @ features - pulled[moving]
        curve = ((own * p * (1 - p)) @ products).reshape(-1, k, k) + FLAT * np.eye(k)
        step = _proximal(at, slope, curve) - at
        beta[moving] = _lower(features, own, pulled[moving], at, step)
        moving = moving[np.abs(step).max(axis=1) > SETTLED]
        if not len(moving):
            break
    return beta


def _proximal(at: Floats, slope: Floats, curve: Floats) -> Floats:
    """Return the minima of slope (t - at) + (t - at) curve (t - at) / 2 + |t|_1, shape (rounds, k).

    Coordinate by coordinate, each to its own minimum.
    """
    found = at.copy()
    for _ in range(SWEEPS):
        before = found.copy()
        for j in range(at.shape[1]):
            tilt = slope[:, j] + np.einsum("rk,rk->r", curve[:, j], found - at)
            bend = curve[:, j, j]
            free = found[:, j] - tilt / bend
            found[:, j] = np.sign(free) * np.maximum(np.abs(free) - 1 / bend, 0)
        if np.abs(found - before).max() <= SETTLED / 100:
            break
    return found


def _lower(features: Floats, weights: Floats, pulled: Floats, at: Floats, step: Floats) -> Floats:
    """Return `at` plus the step, halved where the objective would rise."""
    start = _objective(features, weights, pulled, at)
    allowed = start + ROUNDING * np.abs(start)
    taken = at + step
    rising = np.arange(len(at))
    for halving in range(1, HALVINGS):
        now = _objective(features, weights[rising], pulled[rising], taken[rising])
        rising = rising[now > allowed[rising]]
        if not len(rising):
            break
        taken[rising] = at[rising] + step[rising] / 2**halving
    return taken


def _objective(features: Floats, weights: Floats, pulled: Floats, beta: Floats) -> Floats:
    """Return the penalised loss, shape (rounds,); `pulled` is sum_i C w_i y_i x_i."""
    logits = beta @ features.T
    softplus = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0)
    loss = np.einsum("rn,rn->r", weights, softplus) - np.einsum("rk,rk->r", pulled, beta)
    return np.asarray(loss + np.abs(beta).sum(axis=1))
