"""Ratings from comparisons by maximum likelihood: Bradley-Terry, and Davidson's model for ties.

Bradley and Terry (Biometrika 39, 1952): P(i ≻ j) = σ(θ_i − θ_j); a tie counts as half a win.
Davidson (JASA 65, 1970): win, tie and loss are as e^{d/2} : ν : e^{−d/2}, d = θ_i − θ_j.

Newton's method, for many tables of counts at once. Ratings are in nats and sum to zero. Where a
contestant wins (or loses) everything, or no chain of comparisons joins two of them, there is no
finite or no unique optimum: that fit is repeated with a ridge penalty, as in `logistic`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.statistics.logistic import (
    GRADIENT_TOLERANCE,
    MAX_STEP,
    RIDGE,
    RIDGE_STEPS,
    STEPS,
    sigmoid,
)
from harness.statistics.resampling import Floats, Mask

LARGEST_RANGE = 15.0
"""In nats: ratings farther apart are on their way to infinity."""
ELO = 400 / np.log(10)
"""Points of Elo's scale in a nat: 400 points are odds of 10 to 1."""

Derivatives = Callable[[Floats], tuple[Floats, Floats]]
"""Gradient (fits, k) and observed information (fits, k, k) of parameters (fits, k)."""


@dataclass(frozen=True, slots=True)
class RatingFits:
    """Ratings, one row a table of counts."""

    ratings: Floats
    """θ, shape (fits, contestants), in nats; each row sums to zero."""
    finite: Mask
    """Shape (fits,): False where only the ridge made the optimum finite and unique."""
    tie_weight: Floats | None = None
    """ν of Davidson's model, shape (fits,)."""


def bradley_terry(wins: Floats) -> RatingFits:
    """Return the Bradley-Terry ratings of tables of wins.

    Args:
        wins: how often row beat column, ties halved, shape (fits, contestants, contestants).
    """
    games = wins + np.swapaxes(wins, 1, 2)
    won = wins.sum(axis=2)

    def derivatives(ratings: Floats) -> tuple[Floats, Floats]:
        p = sigmoid(ratings[:, :, None] - ratings[:, None, :])
        return won - (games * p).sum(axis=2), _laplacian(games * p * (1 - p))

    ratings, finite = _maximize(derivatives, wins.shape[1], won.sum(axis=1), shifts=wins.shape[1])
    return RatingFits(ratings, finite)


def davidson(wins: Floats, ties: Floats) -> RatingFits:
    """Return the ratings and the weight of ties under Davidson's model.

    Args:
        wins: how often row beat column, ties left out, shape (fits, contestants, contestants).
        ties: how often two tied, symmetric, in the same shape; one at least in each fit.
    """
    count = wins.shape[1]
    games = wins + np.swapaxes(wins, 1, 2) + ties
    half_wins = (wins - np.swapaxes(wins, 1, 2)).sum(axis=2) / 2
    tied = ties.sum(axis=(1, 2)) / 2

    def derivatives(parameters: Floats) -> tuple[Floats, Floats]:
        ratings, log_weight = parameters[:, :count], parameters[:, count, None, None]
        half = (ratings[:, :, None] - ratings[:, None, :]) / 2
        win, loss, tie = np.exp(half), np.exp(-half), np.exp(log_weight)
        total = win + loss + tie
        difference, p_tie = (win - loss) / total, tie / total
        slope = np.append(
            half_wins - (games * difference).sum(axis=2) / 2,
            (tied - (games * p_tie).sum(axis=(1, 2)) / 2)[:, None],
            axis=1,
        )
        information = np.zeros((len(wins), count + 1, count + 1))
        spread = ((win + loss) / total - difference**2) / 4
        information[:, :count, :count] = _laplacian(games * spread)
        mixed = -(games * difference * p_tie).sum(axis=2) / 2
        information[:, :count, count] = information[:, count, :count] = mixed
        information[:, count, count] = (games * p_tie * (1 - p_tie)).sum(axis=(1, 2)) / 2
        return slope, information

    scale = games.sum(axis=(1, 2)) / 2
    parameters, finite = _maximize(derivatives, count + 1, scale, shifts=count)
    return RatingFits(parameters[:, :count], finite, np.exp(parameters[:, count]))


def _laplacian(weights: Floats) -> Floats:
    """Return the information about ratings from that about their differences."""
    degrees = weights.sum(axis=2) - np.diagonal(weights, axis1=1, axis2=2)
    off_diagonal = weights * (1 - np.eye(weights.shape[1]))
    return np.asarray(degrees[:, :, None] * np.eye(weights.shape[1]) - off_diagonal)


def _maximize(
    derivatives: Derivatives, parameters: int, scale: Floats, shifts: int
) -> tuple[Floats, Mask]:
    """Return the optimum of each fit; the first `shifts` parameters may all be shifted alike."""
    beta, finite = _newton(derivatives, (len(scale), parameters), scale, shifts, 0.0)
    if not finite.all():
        penalized, _ = _newton(derivatives, (len(scale), parameters), scale, shifts, RIDGE)
        beta[~finite] = penalized[~finite]
    return beta, finite


def _newton(
    derivatives: Derivatives, shape: tuple[int, int], scale: Floats, shifts: int, ridge: float
) -> tuple[Floats, Mask]:
    beta, finite = np.zeros(shape), np.zeros(shape[0], dtype=bool)
    level = np.zeros((shape[1], shape[1]))
    level[:shifts, :shifts] = 1 / shifts  # fixes the ratings' mean, which no comparison does
    for _ in range(RIDGE_STEPS if ridge else STEPS):
        gradient, information = derivatives(beta)
        gradient = gradient - ridge * beta
        small = np.abs(gradient).max(axis=1) <= GRADIENT_TOLERANCE * np.maximum(scale, 1e-300)
        finite = small & (np.ptp(beta[:, :shifts], axis=1) <= LARGEST_RANGE)
        if small.all():
            break
        system = information + (ridge * np.eye(shape[1]) + level * scale[:, None, None])
        step = _solve(system, gradient)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        step *= np.minimum(1.0, MAX_STEP / np.maximum(length, MAX_STEP))
        beta = np.where(small[:, None], beta, beta + step)
    return beta, finite


def _solve(system: Floats, gradient: Floats) -> Floats:
    """Solve every system; one that is singular to rounding is damped."""
    damped = system + 1e-12 * np.trace(system, axis1=1, axis2=2)[:, None, None] * np.eye(
        system.shape[1]
    )
    return np.asarray(np.linalg.solve(damped, gradient[..., None])[..., 0])
