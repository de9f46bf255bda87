"""Win rates with the style of the answers held equal: Bradley-Terry with features of style.

    logit P(model wins a row) = s_model - s_baseline + w · z

z are the differences in length and Markdown between the model's answer and the baseline's
(arena-hard-auto v2.0), in standard deviations; the figure is sigmoid(s_model - s_baseline), where
z is nought. In `truncated`, upstream's way, that is the mean over the rows of all models of a file,
so that a model alone is set at its own style and nothing is controlled for. In `exact` it is where
the two answers have the same style, whoever else was fitted; figures of models that were fitted
apart are of one kind. `exact` is the maximum of the likelihood; `truncated` is where upstream's
optimiser stands after its 50 steps (torch's L-BFGS at a rate of 0.1, from coefficients of ½), up to
about a point from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import CheckError
from harness.statistics.logistic import fit
from harness.statistics.resampling import Floats, Indices, stream, weights
from harness.statistics.sigmoid import sigmoid

RATE, STEPS, START = 0.1, 50, 0.5
SMALL, CURVED = 1e-9, 1e-10
HISTORY = 100


@dataclass(frozen=True, slots=True)
class Rows:
    """Games against the baseline, each field of shape (rows,) or (rows, features)."""

    model: Indices
    won: Floats
    """What the model won: 0, ½ or 1."""
    weight: Floats
    """How often the game counts."""
    apart: Floats
    """Differences of style, (rows, features); see `differences`."""
    prompt: Indices
    """Whose games stay together in a resample."""
    models: int


@dataclass(frozen=True, slots=True)
class Controlled:
    """Win rates at equal style, as shares."""

    win_rate: Floats
    """Shape (models,)."""
    style: Floats
    """The weights of the standardised features, shape (features,)."""
    resampled: Floats | None = None
    """Shape (rounds, models)."""
    contributions: Floats | None = None
    """Of every prompt to each win rate, shape (prompts, models), NaN where a model has no game:
    their mean is the win rate, and to first order their weighted mean is that of reweighted
    prompts, see `influence`."""


def differences(ours: Floats, theirs: Floats) -> Floats:
    """Return what upstream compares of two answers' style, shape (answers, 4).

    Both hold tokens, headers, lists, bold (answers, 4). Length is (a - b) / (a + b), nought where
    both are empty; Markdown is compared by its density d = count / (tokens + 1), as
    (a - b) / (a + b + 1).
    """
    total = ours[:, :1] + theirs[:, :1]
    length = np.divide(
        ours[:, :1] - theirs[:, :1], total, out=np.zeros_like(total), where=total > 0
    )
    dense, other = (side[:, 1:] / (side[:, :1] + 1) for side in (ours, theirs))
    return np.hstack([length, (dense - other) / (dense + other + 1)])


def exact(rows: Rows, *, seed: int = 0, rounds: int = 0) -> Controlled:
    """Return the maximum of the likelihood, and its resamples over prompts.

    Raises:
        CheckError: the games do not tell style from strength.
    """
    features = np.hstack([_own(rows), _divided(rows.apart, _spread(rows))])
    told = np.asarray(features.any(axis=0))  # a style that no two answers differ in has no weight
    features = features[:, told]
    found = fit(features, rows.won, rows.weight[None, :])
    if not found.settled[0]:
        raise CheckError("wins follow the style of the answers without an exception: no control")
    drawn = _resamples(rows, seed, rounds) if rounds else None
    beta = np.zeros(len(told))
    beta[told] = found.coefficients[0]
    return Controlled(
        np.asarray(sigmoid(beta[: rows.models])),
        beta[rows.models :],
        None
        if drawn is None
        else sigmoid(fit(features, rows.won, drawn).coefficients)[:, : rows.models],
        _contributions(rows, features, found.coefficients[0]),
    )


def _contributions(rows: Rows, features: Floats, beta: Floats) -> Floats:
    """Return every prompt's contribution to each win rate, shape (prompts, models)."""
    p = sigmoid(features @ beta)
    curve = (features * (rows.weight * p * (1 - p))[:, None]).T @ features
    slope = features * (rows.weight * (rows.won - p))[:, None]
    moved = slope @ np.linalg.solve(curve, np.eye(len(beta), rows.models))
    prompts = int(rows.prompt.max()) + 1
    found = np.full((prompts, rows.models), np.nan)
    for model in range(rows.models):
        own = np.unique(rows.prompt[rows.model == model])
        pull = np.bincount(rows.prompt, weights=moved[:, model], minlength=prompts)[own]
        value = float(sigmoid(beta[model]))
        found[own, model] = value + len(own) * value * (1 - value) * (pull - pull.mean())
    return found


def truncated(rows: Rows, weight: Floats) -> Controlled:
    """Return where upstream's optimiser stands after its steps; the baseline has a coefficient.

    `weight`, shape (rows,), is how often each row counts; the features stay standardised over all.
    """
    against = np.full((len(rows.model), 1), -1.0)
    z = _divided(rows.apart - _mean(rows), _spread(rows))
    features = np.hstack([_own(rows), against, z])
    beta = lbfgs(features, rows.won, weight)
    strength = beta[: rows.models] - beta[rows.models]
    return Controlled(np.asarray(sigmoid(strength)), beta[rows.models + 1 :])


def lbfgs(features: Floats, labels: Floats, weight: Floats) -> Floats:
    """Return the coefficients after torch's L-BFGS without a line search, in double precision."""
    beta = np.full(features.shape[1], START)
    loss, slope = _objective(features, labels, weight, beta)
    step, rate = -slope, min(1.0, 1 / np.abs(slope).sum()) * RATE
    moved: list[tuple[Floats, Floats]] = []
    for number in range(1, STEPS + 1):
        if float(slope @ step) > -SMALL:
            break
        beta = beta + rate * step
        if number == STEPS:
            break
        before, last = slope, loss
        loss, slope = _objective(features, labels, weight, beta)
        small = np.abs(rate * step).max() <= SMALL or abs(loss - last) < SMALL
        if np.abs(slope).max() <= SMALL or small:
            break
        moved = _remembered(moved, rate * step, slope - before)
        step, rate = _direction(moved, slope), RATE
    return beta


def _objective(
    features: Floats, labels: Floats, weight: Floats, beta: Floats
) -> tuple[float, Floats]:
    """Return the summed cross-entropy and its gradient."""
    logits = features @ beta
    loss = weight @ (np.logaddexp(0, logits) - labels * logits)
    return float(loss), np.asarray((weight * (sigmoid(logits) - labels)) @ features)


def _remembered(
    moved: list[tuple[Floats, Floats]], step: Floats, change: Floats
) -> list[tuple[Floats, Floats]]:
    curved = float(step @ change) > CURVED
    return [*moved, (step, change)][-HISTORY:] if curved else moved


def _direction(moved: list[tuple[Floats, Floats]], slope: Floats) -> Floats:
    """Return minus the inverse curvature times the gradient, by the two-loop recursion."""
    found = -slope
    shares = []
    for step, change in reversed(moved):
        share = float(step @ found) / float(step @ change)
        found = found - share * change
        shares.append(share)
    if moved:
        step, change = moved[-1]
        found = found * (float(step @ change) / float(change @ change))
    for (step, change), share in zip(moved, reversed(shares), strict=True):
        found = found + step * (share - float(change @ found) / float(step @ change))
    return found


def _own(rows: Rows) -> Floats:
    """Return one column a model, 1 in its rows."""
    own = np.zeros((len(rows.model), rows.models))
    own[np.arange(len(own)), rows.model] = 1
    return own


def _mean(rows: Rows) -> Floats:
    return np.asarray(rows.weight @ rows.apart / rows.weight.sum())


def _spread(rows: Rows) -> Floats:
    """Return the weighted standard deviation (n - 1) of every difference."""
    squares = rows.weight @ (rows.apart - _mean(rows)) ** 2
    return np.asarray(np.sqrt(squares / max(1.0, rows.weight.sum() - 1)))


def _divided(apart: Floats, spread: Floats) -> Floats:
    return np.asarray(np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0))


def _resamples(rows: Rows, seed: int, rounds: int) -> Floats:
    """Return every row's weight in each resample of prompts, shape (rounds, rows)."""
    drawn = weights(int(rows.prompt.max()) + 1, stream(seed), rounds)
    return np.asarray(drawn[:, rows.prompt] * rows.weight)
