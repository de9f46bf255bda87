"""AlpacaEval 2.0's length-controlled win rate, to the published figure (arXiv 2404.04475).

    logit p_i = l tanh(d_i / std(d)) + g difficulty_i + b,    d = baseline length - our length

The figure is the mean of p over all instructions at d = 0. An L1 penalty of strength 1 / C, chosen
by cross-validation, and the rows of a baseline that was told to be concise or verbose (*gamed*: no
b, a weight of 0.1) hold l and g in place.

What differs from alpaca_eval 0.6.6: the folds do not depend on the machine (`folds`), and a
bootstrap interval stands beside the published standard error, which is the spread of p between
instructions and says nothing of how far the figure would move with other instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import CheckError
from harness.statistics.bootstrap import spread
from harness.statistics.folds import Order, folds
from harness.statistics.length_control import percent
from harness.statistics.resampling import Floats, Mask, stream, weights
from harness.statistics.sigmoid import sigmoid
from harness.statistics.sparse_logistic import liblinear, refit
from harness.types import Estimate

STRENGTHS = tuple(float(c) for c in np.logspace(-4, 4, 10))
"""The values of C that are tried."""
FOLDS = 5
GAMED_WEIGHT = 0.1
CLIP = 1e-15
CACHED = 64_000
"""How many numbers a block of resamples may hold: it stays in the processor's cache."""
SAME = 1e-3
"""Relative distance within which a C that was typed in is one of those tried."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A model's rows, each field of shape (n,)."""

    preference: Floats
    """P(ours preferred) in [0, 1]; NaN where the verdict could not be read."""
    length: Floats
    """Of our answers, in code points."""
    baseline_length: Floats
    difficulty: Floats | None
    """Of the instructions, on the logit scale; None leaves the term out."""


@dataclass(frozen=True, slots=True)
class Gamed:
    """The baseline told to be concise or verbose, against itself; each field of shape (m,)."""

    preference: Floats
    """P(the gamed answer preferred)."""
    standard_apart: Floats
    """Baseline length - gamed length, over the standard deviation of its model's rows."""
    difficulty: Floats


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """The figure, in percent, and what it rests on."""

    estimate: Estimate
    """Interval and standard error: a bootstrap over instructions at the chosen C."""
    published_error: float
    """`lc_standard_error` as published, in percent: of fitted p between instructions."""
    strength: float | None
    """C; None where nothing had to be fitted."""
    neighbours: Mapping[float, float]
    """The figure, in percent, at the values of C next to the chosen one."""
    contributions: Floats
    """What each row contributes, in percent, shape (n,): their mean is the figure, and to first
    order their weighted mean is the figure of reweighted rows (at the same C)."""


@dataclass(frozen=True, slots=True)
class _Design:
    features: Floats
    """Shape (m + read, k): tanh of the standard length apart, difficulty, ours or not."""
    labels: Floats
    weights: Floats


def length_controlled_win_rate(
    judged: Judged,
    gamed: Gamed,
    *,
    seed: int,
    rounds: int = 1000,
    order: Order = "stable",
    strength: float | None = None,
) -> LengthControlled:
    """Fit the model, choose C, and predict at equal lengths.

    Draws throughout with answers as long as the baseline's are the baseline against itself: 50,
    without a fit. Few rows, or equal preferences, are no error: the gamed rows keep the fit finite.
    The interval comes from refits on resampled instructions; gamed rows, std(d) and C are held.

    Args:
        judged: The model's rows, unread ones included: they are predicted for.
        gamed: Rows of df_gamed.csv, in its order.
        seed: Of the resamples.
        rounds: How many resamples; 0: no interval.
        order: Of the rows before they are dealt into folds; the leaderboard's was `introsort`.
        strength: C; None: chosen by cross-validation.

    Raises:
        CheckError: fewer than two verdicts could be read, or all answers differ from the baseline's
            by the same length, which is not nought.
    """
    read = ~np.isnan(judged.preference)
    if read.sum() < 2:
        raise CheckError(f"length control needs two verdicts that could be read, not {read.sum()}")
    if _against_itself(judged):
        even = np.full(len(read), 50.0)
        return LengthControlled(Estimate(50.0, 50.0, 50.0, 0.0), 0.0, None, {}, even)
    design = _design(judged, gamed, read)
    chosen = _chosen(design, order) if strength is None else strength
    beta = _fit(design, chosen)
    fitted = _at_equal_length(beta[None, :], judged)[0]
    value = float(fitted.mean())
    error = float(np.std(fitted, ddof=1) / np.sqrt(len(fitted)))
    near = {c: _value(design, judged, c) for c in _neighbours(chosen)}
    each = _contributions(design, read, beta, judged)
    estimate = Estimate(value)
    if rounds:
        resampled = _resampled(judged, design, read, chosen, beta, seed, rounds)
        estimate = spread(value, resampled, each - each.mean())
    return LengthControlled(percent(estimate), 100 * error, chosen, near, 100 * each)


def _against_itself(judged: Judged) -> bool:
    draws = np.all(judged.preference[~np.isnan(judged.preference)] == 0.5)
    return bool(draws and np.array_equal(judged.length, judged.baseline_length))


def _standard_apart(judged: Judged) -> Floats:
    apart = judged.baseline_length - judged.length
    if not apart.any():
        return apart
    if np.ptp(apart) == 0:
        raise CheckError("all answers differ from the baseline's by the same length: no control")
    return np.asarray(apart / np.std(apart, ddof=1))


def _design(judged: Judged, gamed: Gamed, read: Mask) -> _Design:
    """Return what is fitted, gamed rows first: liblinear's path depends on the order."""
    known = ~np.isnan(gamed.preference)
    apart = [gamed.standard_apart[known], _standard_apart(judged)[read]]
    columns = [np.tanh(np.concatenate(apart))]
    if judged.difficulty is not None:
        columns.append(np.concatenate([gamed.difficulty[known], judged.difficulty[read]]))
    ours = np.repeat([0.0, 1.0], [known.sum(), read.sum()])
    labels = np.concatenate([gamed.preference[known], judged.preference[read]])
    features = np.stack([*columns, ours], axis=1)
    return _Design(features, labels, np.where(ours == 1, 1.0, GAMED_WEIGHT))


def _fit(design: _Design, strength: float) -> Floats:
    return liblinear(design.features, design.labels, design.weights, strength)


def _chosen(design: _Design, order: Order) -> float:
    """Return the C with the least mean loss over the folds' held-out rows; of equals the first."""
    place = folds(len(design.labels), FOLDS, order)
    losses = [
        np.mean([_held_out(design, place == fold, c) for fold in range(FOLDS)]) for c in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(losses))]


def _held_out(design: _Design, held: Mask, strength: float) -> float:
    """Return the mean weighted log loss, in nats, of the rows held out."""
    rest = _Design(design.features[~held], design.labels[~held], design.weights[~held])
    p = np.clip(sigmoid(design.features[held] @ _fit(rest, strength)), CLIP, 1 - CLIP)
    y = design.labels[held]
    return float(-np.mean(design.weights[held] * (y * np.log(p) + (1 - y) * np.log(1 - p))))


def _at_equal_length(beta: Floats, judged: Judged) -> Floats:
    """Return P(ours preferred) at no difference in length, shape (rounds, n)."""
    logits = np.repeat(beta[:, -1:], len(judged.preference), axis=1)
    if judged.difficulty is not None:
        logits += beta[:, 1:2] * judged.difficulty
    return np.asarray(sigmoid(logits))


def _contributions(design: _Design, read: Mask, beta: Floats, judged: Judged) -> Floats:
    """Return P(ours preferred) at equal length plus the row's pull on the fit, shape (n,).

    A coefficient that the penalty holds at nought stays there: to first order it does not move.
    """
    fitted, free = _at_equal_length(beta[None, :], judged)[0], beta != 0
    features = design.features[:, free]
    p = sigmoid(features @ beta[free])
    curve = (features * (design.weights * p * (1 - p))[:, None]).T @ features
    known = [np.zeros(len(fitted)), judged.difficulty, np.ones(len(fitted))]
    even = np.stack([column for column in known if column is not None], axis=1)[:, free]
    slope = (fitted * (1 - fitted)) @ even
    ours = slice(-int(read.sum()), None)
    moved = (features[ours] * (design.labels - p)[ours, None]) @ np.linalg.solve(curve, slope)
    pull = np.zeros(len(fitted))
    pull[read] = moved
    return np.asarray(fitted + pull - pull.mean())


def _value(design: _Design, judged: Judged, strength: float) -> float:
    return 100 * float(_at_equal_length(_fit(design, strength)[None, :], judged).mean())


def _neighbours(chosen: float) -> list[float]:
    """Return the nearest of the values tried below C and above it."""
    below = [c for c in STRENGTHS if c < chosen * (1 - SAME)]
    above = [c for c in STRENGTHS if c > chosen * (1 + SAME)]
    return below[-1:] + above[:1]


def _resampled(
    judged: Judged,
    design: _Design,
    read: Mask,
    strength: float,
    start: Floats,
    seed: int,
    rounds: int,
) -> Floats:
    """Return the figure, a share, of every resample that a verdict is in."""
    source, n = stream(seed), len(judged.preference)
    held = design.weights[: len(design.labels) - read.sum()]
    block = max(1, CACHED // len(design.labels))
    found = []
    for begun in range(0, rounds, block):
        drawn = weights(n, source, min(block, rounds - begun))
        drawn = drawn[drawn[:, read].any(axis=1)]
        every = np.hstack([np.tile(held, (len(drawn), 1)), drawn[:, read]])
        beta = refit(design.features, design.labels, every, strength, start)
        found.append((drawn * _at_equal_length(beta, judged)).sum(axis=1) / n)
    return np.concatenate(found)
