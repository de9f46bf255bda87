"""Win rates at equal answer style: a Bradley-Terry model with style features.

    logit P(model wins a row) = s_model - s_baseline + w · z

z are the differences in length and Markdown between the model's answer and the baseline's
(arena-hard-auto v2.0), in standard deviations; the win rate is sigmoid(s_model - s_baseline), that
is, at z = 0. In `fit_truncated`, as upstream, z = 0 is the mean over the rows of all models in a
file, so that a single model is evaluated at its own mean style and nothing is controlled for. In
`fit_exact` z = 0 is where the two answers have the same style, whichever models are fitted
together, so that win rates from separate fits are comparable. `fit_exact` is the maximum of the
likelihood; `fit_truncated` is where upstream's optimiser stops after its 50 steps (torch's L-BFGS
with a learning rate of 0.1, from coefficients of ½), up to about a point away from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import CheckError
from harness.statistics.logistic import fit, sigmoid
from harness.statistics.resampling import Floats, Indices, bit_generator, resample_weights

RATE, STEPS, START = 0.1, 50, 0.5
TOLERANCE, MIN_CURVATURE = 1e-9, 1e-10
HISTORY = 100


@dataclass(frozen=True, slots=True)
class StyleGames:
    """Games against the baseline, each field of shape (rows,) or (rows, features)."""

    model: Indices
    points: Floats
    """Points of the model: 0, ½ or 1."""
    weight: Floats
    """Weight of the game."""
    style_difference: Floats
    """Differences in style, shape (rows, features); see `style_differences`."""
    prompt: Indices
    """Games of one prompt are resampled together."""
    model_count: int


@dataclass(frozen=True, slots=True)
class StyleControlFit:
    """Win rates at equal style, as shares."""

    win_rate: Floats
    """Shape (models,)."""
    style: Floats
    """The weights of the standardised features, shape (features,)."""
    replicates: Floats | None = None
    """Shape (rounds, models)."""
    contributions: Floats | None = None
    """Of every prompt to each win rate, shape (prompts, models), NaN where a model has no game:
    their mean is the win rate, and to first order their weighted mean is the win rate of reweighted
    prompts, see `length_control`."""


def style_differences(ours: Floats, theirs: Floats) -> Floats:
    """Return upstream's differences in style between two sets of answers, shape (answers, 4).

    Both arguments hold counts of tokens, headers, list items and bold spans, shape (answers, 4).
    Length is compared as (a - b) / (a + b), zero where both are empty; Markdown by its density
    d = count / (tokens + 1), as (a - b) / (a + b + 1).
    """
    total = ours[:, :1] + theirs[:, :1]
    length = np.divide(
        ours[:, :1] - theirs[:, :1], total, out=np.zeros_like(total), where=total > 0
    )
    our_density, their_density = (side[:, 1:] / (side[:, :1] + 1) for side in (ours, theirs))
    return np.hstack([length, (our_density - their_density) / (our_density + their_density + 1)])


def fit_exact(rows: StyleGames, *, seed: int = 0, rounds: int = 0) -> StyleControlFit:
    """Return the maximum-likelihood fit and its bootstrap replicates over prompts.

    Raises:
        CheckError: style separates wins from losses, so that the likelihood has no maximum.
    """
    features = np.hstack(
        [_model_indicators(rows), _divide(rows.style_difference, _standard_deviation(rows))]
    )
    # a feature in which no two answers differ has no weight
    varies = np.asarray(features.any(axis=0))
    features = features[:, varies]
    fitted = fit(features, rows.points, rows.weight[None, :])
    if not fitted.converged[0]:
        raise CheckError(
            "wins follow the style of the answers without an exception: "
            "style cannot be controlled for"
        )
    resamples = _resamples(rows, seed, rounds) if rounds else None
    beta = np.zeros(len(varies))
    beta[varies] = fitted.coefficients[0]
    return StyleControlFit(
        np.asarray(sigmoid(beta[: rows.model_count])),
        beta[rows.model_count :],
        None
        if resamples is None
        else sigmoid(fit(features, rows.points, resamples).coefficients)[:, : rows.model_count],
        _contributions(rows, features, fitted.coefficients[0]),
    )


def _contributions(rows: StyleGames, features: Floats, beta: Floats) -> Floats:
    """Return every prompt's contribution to each win rate, shape (prompts, models)."""
    p = sigmoid(features @ beta)
    hessian = (features * (rows.weight * p * (1 - p))[:, None]).T @ features
    gradients = features * (rows.weight * (rows.points - p))[:, None]
    influence = gradients @ np.linalg.solve(hessian, np.eye(len(beta), rows.model_count))
    prompts = int(rows.prompt.max()) + 1
    table = np.full((prompts, rows.model_count), np.nan)
    for model in range(rows.model_count):
        own_prompts = np.unique(rows.prompt[rows.model == model])
        pull = np.bincount(rows.prompt, weights=influence[:, model], minlength=prompts)[own_prompts]
        value = float(sigmoid(beta[model]))
        table[own_prompts, model] = value + len(own_prompts) * value * (1 - value) * (
            pull - pull.mean()
        )
    return table


def fit_truncated(rows: StyleGames, weight: Floats) -> StyleControlFit:
    """Return the point where upstream's optimiser stops; the baseline has a coefficient too.

    `weight`, shape (rows,), weighs the rows; the features stay standardised over all rows.
    """
    baseline_column = np.full((len(rows.model), 1), -1.0)
    z = _divide(rows.style_difference - _mean(rows), _standard_deviation(rows))
    features = np.hstack([_model_indicators(rows), baseline_column, z])
    beta = lbfgs(features, rows.points, weight)
    strength = beta[: rows.model_count] - beta[rows.model_count]
    return StyleControlFit(np.asarray(sigmoid(strength)), beta[rows.model_count + 1 :])


def lbfgs(features: Floats, labels: Floats, weight: Floats) -> Floats:
    """Return the coefficients of torch's L-BFGS without a line search, in double precision."""
    beta = np.full(features.shape[1], START)
    loss, gradient = _objective(features, labels, weight, beta)
    step, rate = -gradient, min(1.0, 1 / np.abs(gradient).sum()) * RATE
    history: list[tuple[Floats, Floats]] = []
    for number in range(1, STEPS + 1):
        if float(gradient @ step) > -TOLERANCE:
            break
        beta = beta + rate * step
        if number == STEPS:
            break
        last_gradient, last_loss = gradient, loss
        loss, gradient = _objective(features, labels, weight, beta)
        is_small_step = np.abs(rate * step).max() <= TOLERANCE or abs(loss - last_loss) < TOLERANCE
        if np.abs(gradient).max() <= TOLERANCE or is_small_step:
            break
        history = _remember(history, rate * step, gradient - last_gradient)
        step, rate = _direction(history, gradient), RATE
    return beta


def _objective(
    features: Floats, labels: Floats, weight: Floats, beta: Floats
) -> tuple[float, Floats]:
    """Return the summed cross-entropy and its gradient."""
    logits = features @ beta
    loss = weight @ (np.logaddexp(0, logits) - labels * logits)
    return float(loss), np.asarray((weight * (sigmoid(logits) - labels)) @ features)


def _remember(
    history: list[tuple[Floats, Floats]], step: Floats, change: Floats
) -> list[tuple[Floats, Floats]]:
    is_curved = float(step @ change) > MIN_CURVATURE
    return [*history, (step, change)][-HISTORY:] if is_curved else history


def _direction(history: list[tuple[Floats, Floats]], gradient: Floats) -> Floats:
    """Return minus the inverse curvature times the gradient, by the two-loop recursion."""
    direction = -gradient
    shares = []
    for step, change in reversed(history):
        share = float(step @ direction) / float(step @ change)
        direction = direction - share * change
        shares.append(share)
    if history:
        step, change = history[-1]
        direction = direction * (float(step @ change) / float(change @ change))
    for (step, change), share in zip(history, reversed(shares), strict=True):
        direction = direction + step * (share - float(change @ direction) / float(step @ change))
    return direction


def _model_indicators(rows: StyleGames) -> Floats:
    """Return one indicator column per model, shape (rows, models)."""
    indicators = np.zeros((len(rows.model), rows.model_count))
    indicators[np.arange(len(indicators)), rows.model] = 1
    return indicators


def _mean(rows: StyleGames) -> Floats:
    return np.asarray(rows.weight @ rows.style_difference / rows.weight.sum())


def _standard_deviation(rows: StyleGames) -> Floats:
    """Return the weighted standard deviation (n - 1) of every difference."""
    squares = rows.weight @ (rows.style_difference - _mean(rows)) ** 2
    return np.asarray(np.sqrt(squares / max(1.0, rows.weight.sum() - 1)))


def _divide(difference: Floats, spread: Floats) -> Floats:
    return np.asarray(
        np.divide(difference, spread, out=np.zeros_like(difference), where=spread > 0)
    )


def _resamples(rows: StyleGames, seed: int, rounds: int) -> Floats:
    """Return every row's weight in each resample of prompts, shape (rounds, rows)."""
    prompt_weights = resample_weights(int(rows.prompt.max()) + 1, bit_generator(seed), rounds)
    return np.asarray(prompt_weights[:, rows.prompt] * rows.weight)
