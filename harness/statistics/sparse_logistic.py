"""Logistic regression on soft labels with an L1 penalty, refitted for many weight vectors at once.

The minimum of |beta|_1 + C sum_i w_i (-y_i log p_i - (1 - y_i) log(1 - p_i)), p = sigmoid(X beta).
`fit_liblinear` follows the library behind the published figures draw by draw and stops where it
stops (tol 1e-4): up to a few thousandths of a point from the minimum. `refit` continues to
STEP_TOLERANCE, for all weight vectors side by side. Both are proximal Newton methods: each step
minimises the quadratic model plus the penalty by coordinate descent, and is halved while the
objective would not decrease.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.statistics.logistic import sigmoid
from harness.statistics.resampling import Floats

STEPS, HALVINGS, SWEEPS = 60, 30, 500
STEP_TOLERANCE = 1e-5
"""The largest change of a coefficient in the last step; the remaining error is about its square."""
SWEEP_TOLERANCE = 1e-9
"""The largest change of a coefficient in the last sweep of a step's quadratic problem."""
LARGE_STEP = 0.5
"""Steps that change a coefficient by more than this are checked by a line search."""
CURVATURE_FLOOR = 1e-10
"""Added to the Hessian, so that a feature that is zero everywhere keeps a coefficient of 0."""
ROUNDING = 1e-13
"""Relative increase of an objective that counts as rounding."""

TOLERANCE, NEWTON_STEPS, INNER_STEPS, LINE_SEARCHES = 1e-4, 100, 1000, 20
DAMPING, DESCENT, MAX_STEP, MIN_STEP = 1e-12, 0.01, 10.0, 1e-12
MAX_LOGIT = 700.0
"""Larger logits would overflow exp."""
SEED = 123
"""scikit-learn's random_state in the published figures."""


def fit_liblinear(features: Floats, labels: Floats, weights: Floats, strength: float) -> Floats:
    """Return the coefficients, shape (k,), where liblinear's solver for an L1 penalty stops.

    After Yuan, Ho and Lin (JMLR 13, 2012), as LogisticRegression(solver="liblinear", tol=1e-4,
    max_iter=100, random_state=123, fit_intercept=False) runs it. A soft label y is a
    one of weight w y and a zero of weight w (1 - y); the number of either with a positive weight
    scales the tolerance. The order of the coordinates is drawn as in liblinear.

    Args:
        features: Shape (n, k).
        labels: Shape (n,), each in [0, 1].
        weights: Shape (n,), non-negative.
        strength: C, the inverse of the penalty.
    """
    positives = int(np.count_nonzero(weights * labels))
    negatives = int(np.count_nonzero(weights * (1 - labels)))
    tolerance = TOLERANCE * max(min(positives, negatives), 1) / max(positives + negatives, 1)
    label_gradient = strength * (weights * labels) @ features
    solver = _LiblinearSolver(
        features, strength * weights, label_gradient, max(positives + negatives, 1)
    )
    draws = _draws()
    for step in range(NEWTON_STEPS):
        violation = solver.update_derivatives()
        if step == 0:
            solver.initial_violation = violation
        if violation <= tolerance * solver.initial_violation:
            break
        if solver.descend(draws) == 1:
            solver.inner_tolerance /= 4
    return solver.beta


@dataclass
class _LiblinearSolver:
    """State of the solver."""

    features: Floats
    weights: Floats
    """Times C."""
    label_gradient: Floats
    """sum_i C w_i y_i x_i."""
    rows: int
    """Number of ones and zeros with a positive weight."""
    initial_violation: float = 0.0
    """The violation of the optimality conditions at the start."""
    inner_tolerance: float = 1.0
    """The tolerance of the quadratic problems, relative to the first violation."""
    largest_violation: float = np.inf
    """The largest violation at the last evaluation."""

    def __post_init__(self) -> None:
        self.beta = np.zeros(self.features.shape[1])
        self.order = list(range(len(self.beta)))
        self._move_to(np.zeros(len(self.features)))

    def update_derivatives(self) -> float:
        """Update gradient and Hessian; return the violation, deactivating idle coordinates."""
        p = self.exp_logits / (1 + self.exp_logits)
        pull = self.weights * p
        self.gradient: list[float] = (pull @ self.features - self.label_gradient).tolist()
        weighted = self.features * (pull * (1 - p))[:, None]
        self.hessian: list[list[float]] = (self.features.T @ weighted).tolist()
        idle_margin = self.largest_violation / self.rows
        self.active_count, violations = _partition_active(
            self.order, self.beta.tolist(), self.gradient, idle_margin
        )
        self.largest_violation = max(violations, default=0.0)
        return sum(violations)

    def descend(self, draws: Iterator[int]) -> int:
        """Take a step; return the number of sweeps of its quadratic problem."""
        move, sweeps = self._newton_direction(draws)
        gain = float(np.array(self.gradient) @ move) + _norm(self.beta + move) - _norm(self.beta)
        logit_step = self.features @ move
        base_logits, base_exp = self.logits, self.exp_logits
        for _ in range(LINE_SEARCHES):
            self._move_to(base_logits + logit_step)
            # a sum of differences, not a difference of sums: near the end rounding would decide
            rise = float(self.weights @ np.log((1 + self.exp_logits) / (1 + base_exp)))
            penalty = _norm(self.beta + move) - _norm(self.beta)
            if rise - self.label_gradient @ move + penalty <= DESCENT * gain:
                self.beta = self.beta + move
                return sweeps
            move, logit_step, gain = move / 2, logit_step / 2, gain / 2
        self._move_to(base_logits)
        return sweeps

    def _move_to(self, logits: Floats) -> None:
        self.logits, self.exp_logits = logits, np.exp(np.minimum(logits, MAX_LOGIT))

    def _newton_direction(self, draws: Iterator[int]) -> tuple[Floats, int]:
        """Minimise the quadratic model plus the penalty, coordinate by coordinate."""
        move, active = [0.0] * len(self.beta), self.active_count
        largest, sweeps = np.inf, 0
        while sweeps < INNER_STEPS:
            self._shuffle(active, draws)
            violations, active = self._sweep(move, active, largest)
            sweeps += 1
            if sum(violations) <= self.inner_tolerance * self.initial_violation:
                if active == self.active_count:
                    break
                active, largest = self.active_count, np.inf
                continue
            largest = max(violations, default=0.0)
        return np.array(move), sweeps

    def _sweep(self, move: list[float], active: int, largest: float) -> tuple[list[float], int]:
        """Sweep once over the active coordinates; return violations and how many stay active."""
        position, violations, beta = 0, [], self.beta.tolist()
        idle_margin = largest / self.rows
        while position < active:
            j = self.order[position]
            row = self.hessian[j]
            gradient = self.gradient[j] + DAMPING * move[j]
            gradient += sum(curvature * step for curvature, step in zip(row, move, strict=True))
            violation = _violation(beta[j] + move[j], gradient, idle_margin)
            if violation is None:
                active -= 1
                self._swap(position, active)
                continue
            violations.append(violation)
            move[j] += _shift(beta[j] + move[j], gradient, row[j] + DAMPING)
            position += 1
        return violations, active

    def _shuffle(self, active: int, draws: Iterator[int]) -> None:
        for position in range(active):
            self._swap(position, position + _random_below(active - position, draws))

    def _swap(self, i: int, j: int) -> None:
        order = self.order
        order[i], order[j] = order[j], order[i]


def _partition_active(
    order: list[int], beta: list[float], gradient: list[float], idle_margin: float
) -> tuple[int, list[float]]:
    """Move coordinates that stay at zero to the end; return how many do not, and violations."""
    position, active_count, violations = 0, len(order), []
    while position < active_count:
        j = order[position]
        violation = _violation(beta[j], gradient[j], idle_margin)
        if violation is None:
            active_count -= 1
            order[position], order[active_count] = order[active_count], order[position]
            continue
        violations.append(violation)
        position += 1
    return active_count, violations


def _violation(coefficient: float, gradient: float, idle_margin: float) -> float | None:
    """Return how far a coordinate is from its optimality condition; None: it is idle at zero."""
    if coefficient > 0:
        return abs(gradient + 1)
    if coefficient < 0:
        return abs(gradient - 1)
    if gradient + 1 < 0:
        return -gradient - 1
    if gradient - 1 > 0:
        return gradient - 1
    return None if gradient + 1 > idle_margin and gradient - 1 < -idle_margin else 0.0


def _shift(coefficient: float, gradient: float, curvature: float) -> float:
    """Return the step to the minimum along a coordinate, clipped to MAX_STEP."""
    if gradient + 1 < curvature * coefficient:
        step = -(gradient + 1) / curvature
    elif gradient - 1 > curvature * coefficient:
        step = -(gradient - 1) / curvature
    else:
        step = -coefficient
    return 0.0 if abs(step) < MIN_STEP else min(max(step, -MAX_STEP), MAX_STEP)


def _norm(beta: Floats) -> float:
    return float(np.abs(beta).sum())


def _draws() -> Iterator[int]:
    """Yield the 32-bit numbers that determine the order of the coordinates."""
    seed = np.random.RandomState(SEED).randint(np.iinfo("i").max)
    source = np.random.RandomState(seed)
    while True:
        yield from source.randint(0, 1 << 32, size=256, dtype=np.uint32).tolist()


def _random_below(limit: int, draws: Iterator[int]) -> int:
    """Return a uniform number below the limit (Lemire, arXiv 1805.10941)."""
    threshold = ((1 << 32) - limit) % limit
    while True:
        product = next(draws) * limit
        if product & 0xFFFFFFFF >= threshold:
            return product >> 32


def refit(
    features: Floats, labels: Floats, weights: Floats, strength: float, start: Floats
) -> Floats:
    """Return the coefficients for every weight vector, shape (rounds, k).

    Args:
        features: Shape (n, k).
        labels: Shape (n,), each in [0, 1].
        weights: Shape (rounds, n), non-negative.
        strength: C, the inverse of the penalty.
        start: Shape (k,): coefficients near the optima.
    """
    n, k = features.shape
    products = (features[:, :, None] * features[:, None, :]).reshape(n, k * k)
    beta = np.tile(start, (len(weights), 1))
    scaled = strength * weights
    label_gradient = (scaled * labels) @ features
    active = np.arange(len(weights))
    for _ in range(STEPS):
        current, row_weights = beta[active], scaled[active]
        p = sigmoid(current @ features.T)
        row_weights = row_weights * p
        gradient = row_weights @ features - label_gradient[active]
        row_weights -= row_weights * p
        hessian = (row_weights @ products).reshape(-1, k, k) + CURVATURE_FLOOR * np.eye(k)
        step = _proximal_minimum(current, gradient, hessian) - current
        size = np.abs(step).max(axis=1)
        is_large = size > LARGE_STEP
        beta[active] = current + step
        if is_large.any():
            large = active[is_large]
            beta[large] = _line_search(
                features, scaled[large], label_gradient[large], current[is_large], step[is_large]
            )
        active = active[size > STEP_TOLERANCE]
        if not len(active):
            break
    return beta


def _proximal_minimum(current: Floats, gradient: Floats, hessian: Floats) -> Floats:
    """Minimise g·(t - current) + (t - current)ᵀ H (t - current) / 2 + |t|_1 over t, per row.

    By coordinate descent; shape (rounds, k).
    """
    minimum = current.copy()
    for _ in range(SWEEPS):
        previous = minimum.copy()
        for j in range(current.shape[1]):
            tilt = gradient[:, j] + np.einsum("rk,rk->r", hessian[:, j], minimum - current)
            curvature = hessian[:, j, j]
            unpenalized = minimum[:, j] - tilt / curvature
            minimum[:, j] = np.sign(unpenalized) * np.maximum(
                np.abs(unpenalized) - 1 / curvature, 0
            )
        if np.abs(minimum - previous).max() <= SWEEP_TOLERANCE:
            break
    return minimum


def _line_search(
    features: Floats, weights: Floats, label_gradient: Floats, current: Floats, step: Floats
) -> Floats:
    """Return `current` plus the step, halved while the objective would rise."""
    start = _objective(features, weights, label_gradient, current)
    allowed = start + ROUNDING * np.abs(start)
    candidate = current + step
    rising = np.arange(len(current))
    for halving in range(1, HALVINGS):
        objective = _objective(features, weights[rising], label_gradient[rising], candidate[rising])
        rising = rising[objective > allowed[rising]]
        if not len(rising):
            break
        candidate[rising] = current[rising] + step[rising] / 2**halving
    return candidate


def _objective(features: Floats, weights: Floats, label_gradient: Floats, beta: Floats) -> Floats:
    """Return the penalised loss, shape (rounds,); `label_gradient` is sum_i C w_i y_i x_i."""
    logits = beta @ features.T
    softplus = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0)
    loss = np.einsum("rn,rn->r", weights, softplus) - np.einsum("rk,rk->r", label_gradient, beta)
    return np.asarray(loss + np.abs(beta).sum(axis=1))
