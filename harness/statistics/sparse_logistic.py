"""Logistic regression on soft labels with an L1 penalty, refitted for many weight vectors at once.

The minimum of |beta|_1 + C sum_i w_i (-y_i log p_i - (1 - y_i) log(1 - p_i)), p = sigmoid(X beta).
`liblinear` goes the way of the library that made the published figures, draw for draw, and stops
where it stops (tol 1e-4): up to some thousandths of a point from the minimum. `refit` goes on to
SETTLED, for all weightings side by side. Both are proximal Newton methods: each step minimises the
quadratic model plus the penalty by coordinate descent, and is shortened where the objective would
not fall.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats
from harness.statistics.sigmoid import sigmoid

STEPS, HALVINGS, SWEEPS = 60, 30, 500
SETTLED = 1e-5
"""The largest change of a coefficient in the last step; what is left is about its square."""
INNER = 1e-9
"""The largest change of a coefficient in the last sweep of a step's own problem."""
FAR = 0.5
"""The change of a coefficient from which on a step is looked at, and shortened if need be."""
FLAT = 1e-10
"""Added to the curvature, so that a feature that is nought everywhere keeps a coefficient of 0."""
ROUNDING = 1e-13
"""How much of itself an objective may rise by: the sum of its rounding errors."""

TOLERANCE, NEWTON_STEPS, INNER_STEPS, LINE_SEARCHES = 1e-4, 100, 1000, 20
DAMPING, DESCENT, LONGEST, STILL = 1e-12, 0.01, 10.0, 1e-12
HIGHEST = 700.0
"""The logit from which on exp would be infinite."""
SEED = 123
"""scikit-learn's random_state in the published figures."""


def liblinear(features: Floats, labels: Floats, weights: Floats, strength: float) -> Floats:
    """Return the coefficients, shape (k,), where liblinear's solver for an L1 penalty stops.

    After Yuan, Ho and Lin (JMLR 13, 2012), as LogisticRegression(solver="liblinear", tol=1e-4,
    max_iter=100, random_state=123, fit_intercept=False) runs it. A soft label y is a one of weight
    w y and a nought of weight w (1 - y); how many have any weight scales its tolerance. The order
    of the coordinates is drawn as there.

    Args:
        features: Shape (n, k).
        labels: Shape (n,), each in [0, 1].
        weights: Shape (n,), not negative.
        strength: C, the inverse of the penalty.
    """
    ones = int(np.count_nonzero(weights * labels))
    noughts = int(np.count_nonzero(weights * (1 - labels)))
    tolerance = TOLERANCE * max(min(ones, noughts), 1) / max(ones + noughts, 1)
    pulled = strength * (weights * labels) @ features
    path = _Path(features, strength * weights, pulled, max(ones + noughts, 1))
    draws = _draws()
    for step in range(NEWTON_STEPS):
        violation = path.look()
        if step == 0:
            path.first = violation
        if violation <= tolerance * path.first:
            break
        if path.descend(draws) == 1:
            path.inner /= 4
    return path.beta


@dataclass
class _Path:
    """Where the solver is."""

    features: Floats
    weights: Floats
    """Times C."""
    pulled: Floats
    """sum_i C w_i y_i x_i."""
    rows: int
    """How many ones and noughts have any weight."""
    first: float = 0.0
    """The violation of the optimality conditions at the start."""
    inner: float = 1.0
    """The tolerance of the quadratic problems, relative to the first violation."""
    largest: float = np.inf
    """The largest violation at the last look."""

    def __post_init__(self) -> None:
        self.beta = np.zeros(self.features.shape[1])
        self.order = list(range(len(self.beta)))
        self._move_to(np.zeros(len(self.features)))

    def look(self) -> float:
        """Take gradient and curvature; return the violation, setting idle coordinates aside."""
        p = self.raised / (1 + self.raised)
        pull = self.weights * p
        self.slope: list[float] = (pull @ self.features - self.pulled).tolist()
        curved = self.features * (pull * (1 - p))[:, None]
        self.curve: list[list[float]] = (self.features.T @ curved).tolist()
        idle = self.largest / self.rows
        self.active, found = _active(self.order, self.beta.tolist(), self.slope, idle)
        self.largest = max(found, default=0.0)
        return sum(found)

    def descend(self, draws: Iterator[int]) -> int:
        """Take a step; return how many sweeps its quadratic problem took."""
        move, sweeps = self._target(draws)
        gain = float(np.array(self.slope) @ move) + _norm(self.beta + move) - _norm(self.beta)
        moved = self.features @ move
        at, raised = self.logits, self.raised
        for _ in range(LINE_SEARCHES):
            self._move_to(at + moved)
            # of the differences, not a difference of sums: near the end rounding would decide
            rise = float(self.weights @ np.log((1 + self.raised) / (1 + raised)))
            penalty = _norm(self.beta + move) - _norm(self.beta)
            if rise - self.pulled @ move + penalty <= DESCENT * gain:
                self.beta = self.beta + move
                return sweeps
            move, moved, gain = move / 2, moved / 2, gain / 2
        self._move_to(at)
        return sweeps

    def _move_to(self, logits: Floats) -> None:
        self.logits, self.raised = logits, np.exp(np.minimum(logits, HIGHEST))

    def _target(self, draws: Iterator[int]) -> tuple[Floats, int]:
        """Minimise the quadratic model plus the penalty, coordinate by coordinate."""
        move, active = [0.0] * len(self.beta), self.active
        largest, sweeps = np.inf, 0
        while sweeps < INNER_STEPS:
            self._shuffle(active, draws)
            found, active = self._sweep(move, active, largest)
            sweeps += 1
            if sum(found) <= self.inner * self.first:
                if active == self.active:
                    break
                active, largest = self.active, np.inf
                continue
            largest = max(found, default=0.0)
        return np.array(move), sweeps

    def _sweep(self, move: list[float], active: int, largest: float) -> tuple[list[float], int]:
        """Go once through the active coordinates; return their violations and how many stay."""
        place, found, beta = 0, [], self.beta.tolist()
        idle = largest / self.rows
        while place < active:
            j = self.order[place]
            row = self.curve[j]
            slope = self.slope[j] + DAMPING * move[j]
            slope += sum(bend * moved for bend, moved in zip(row, move, strict=True))
            violation = _violation(beta[j] + move[j], slope, idle)
            if violation is None:
                active -= 1
                self._swap(place, active)
                continue
            found.append(violation)
            move[j] += _shift(beta[j] + move[j], slope, row[j] + DAMPING)
            place += 1
        return found, active

    def _shuffle(self, active: int, draws: Iterator[int]) -> None:
        for place in range(active):
            self._swap(place, place + _below(active - place, draws))

    def _swap(self, one: int, other: int) -> None:
        order = self.order
        order[one], order[other] = order[other], order[one]


def _active(
    order: list[int], beta: list[float], slope: list[float], idle: float
) -> tuple[int, list[float]]:
    """Move coordinates that stay at nought to the end; return how many do not, and violations."""
    place, active, found = 0, len(order), []
    while place < active:
        j = order[place]
        violation = _violation(beta[j], slope[j], idle)
        if violation is None:
            active -= 1
            order[place], order[active] = order[active], order[place]
            continue
        found.append(violation)
        place += 1
    return active, found


def _violation(at: float, slope: float, idle: float) -> float | None:
    """Return how far a coordinate is from its optimality condition; None: it is idle at nought."""
    if at > 0:
        return abs(slope + 1)
    if at < 0:
        return abs(slope - 1)
    if slope + 1 < 0:
        return -slope - 1
    if slope - 1 > 0:
        return slope - 1
    return None if slope + 1 > idle and slope - 1 < -idle else 0.0


def _shift(at: float, slope: float, curve: float) -> float:
    """Return the step to a coordinate's own minimum, cut to the longest that is allowed."""
    if slope + 1 < curve * at:
        step = -(slope + 1) / curve
    elif slope - 1 > curve * at:
        step = -(slope - 1) / curve
    else:
        step = -at
    return 0.0 if abs(step) < STILL else min(max(step, -LONGEST), LONGEST)


def _norm(beta: Floats) -> float:
    return float(np.abs(beta).sum())


def _draws() -> Iterator[int]:
    """Yield the 32-bit numbers that the order of the coordinates is drawn from."""
    seed = np.random.RandomState(SEED).randint(np.iinfo("i").max)
    source = np.random.RandomState(seed)
    while True:
        yield from source.randint(0, 1 << 32, size=256, dtype=np.uint32).tolist()


def _below(limit: int, draws: Iterator[int]) -> int:
    """Return a number below the limit, each equally likely (Lemire, arXiv 1805.10941)."""
    rest = ((1 << 32) - limit) % limit
    while True:
        product = next(draws) * limit
        if product & 0xFFFFFFFF >= rest:
            return product >> 32


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
        p = sigmoid(at @ features.T)
        own = own * p
        slope = own @ features - pulled[moving]
        own -= own * p
        curve = (own @ products).reshape(-1, k, k) + FLAT * np.eye(k)
        step = _proximal(at, slope, curve) - at
        size = np.abs(step).max(axis=1)
        far = size > FAR
        beta[moving] = at + step
        if far.any():
            some = moving[far]
            beta[some] = _lower(features, scaled[some], pulled[some], at[far], step[far])
        moving = moving[size > SETTLED]
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
        if np.abs(found - before).max() <= INNER:
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
