"""Cross-validation folds that no processor and no version of a library changes.

scikit-learn's GroupKFold sorts its groups by size and deals them round robin. Where all groups are
of one size, the order in which a sort leaves equal keys decides who is in which fold; that order
depends on numpy's version, scikit-learn's version and the processor. Here it is written out.

AlpacaEval 2.0's length-controlled win rate, to the published figure (arXiv 2404.04475).

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
from typing import Literal

import numpy as np

from harness.errors import CheckError
from harness.statistics.bootstrap import bootstrap_interval
from harness.statistics.intervals import to_percent
from harness.statistics.logistic import sigmoid
from harness.statistics.resampling import Floats, Indices, Mask, bit_generator, resample_weights
from harness.statistics.sparse_logistic import fit_liblinear, refit
from harness.types import Estimate

TieOrder = Literal["stable", "introsort"]
"""How equal keys are left: as they were, or as numpy's scalar quicksort leaves them."""
SMALL_RANGE = 16
"""Ranges of at most this many equal keys are left alone by the quicksort."""


def assign_folds(n: int, k: int, order: TieOrder = "stable") -> Indices:
    """Return the fold, 0 to k - 1, of each of n groups of one size, shape (n,).

    The groups are dealt from the end of the order; `stable` is what scikit-learn does from 1.9 on.
    """
    ranking = np.arange(n) if order == "stable" else introsort_order(n)
    assigned = np.empty(n, dtype=np.int64)
    assigned[ranking[::-1]] = np.arange(n) % k
    return assigned


def introsort_order(n: int) -> Indices:
    """Return the order in which a quicksort with a median-of-three pivot leaves n equal keys.

    Element q of the result, shape (n,), is the key that ends at place q. Comparing equal keys never
    moves the bounds by more than one place, so that every partition swaps its range end for end.
    """
    order = np.arange(n, dtype=np.int64)
    ranges = [(0, n - 1)]
    while ranges:
        first, last = ranges.pop()
        if last - first >= SMALL_RANGE:
            cut = _partition(order, first, last)
            ranges += [(first, cut - 1), (cut + 1, last)]
    return order


def _partition(order: Indices, first: int, last: int) -> int:
    """Partition first..last in place, both included; return the place of the pivot."""
    middle = first + (last - first) // 2
    _swap(order, middle, last - 1)
    left, right = first + 1, last - 2
    while left < right:
        _swap(order, left, right)
        left, right = left + 1, right - 1
    _swap(order, left, last - 1)
    return left


def _swap(order: Indices, i: int, j: int) -> None:
    order[i], order[j] = order[j], order[i]


STRENGTHS = tuple(float(c) for c in np.logspace(-4, 4, 10))
"""The values of C that are tried."""
FOLDS = 5
GAMED_WEIGHT = 0.1
CLIP = 1e-15
BLOCK_SIZE = 64_000
"""How many numbers a block of resamples may hold: it stays in the processor's cache."""
STRENGTH_TOLERANCE = 1e-3
"""Relative distance within which a C that was typed in is one of those tried."""


@dataclass(frozen=True, slots=True)
class ModelRows:
    """A model's rows, each field of shape (n,)."""

    preference: Floats
    """P(ours preferred) in [0, 1]; NaN where the verdict could not be read."""
    length: Floats
    """Of our answers, in code points."""
    baseline_length: Floats
    difficulty: Floats | None
    """Of the instructions, on the logit scale; None leaves the term out."""


@dataclass(frozen=True, slots=True)
class GamedRows:
    """The baseline told to be concise or verbose, against itself; each field of shape (m,)."""

    preference: Floats
    """P(the gamed answer preferred)."""
    standard_difference: Floats
    """Baseline length - gamed length, over the standard deviation of its model's rows."""
    difficulty: Floats


@dataclass(frozen=True, slots=True)
class LengthControlFit:
    """The figure, in percent, and what it rests on."""

    estimate: Estimate
    """Interval and standard error: a bootstrap over instructions at the chosen C."""
    published_error: float
    """`lc_standard_error` as published, in percent: of fitted p between instructions."""
    strength: float | None
    """C; None where nothing had to be fitted."""
    neighbors: Mapping[float, float]
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
    rows: ModelRows,
    gamed: GamedRows,
    *,
    seed: int,
    rounds: int = 1000,
    order: TieOrder = "stable",
    strength: float | None = None,
) -> LengthControlFit:
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
    parsed = ~np.isnan(rows.preference)
    if parsed.sum() < 2:
        raise CheckError(
            f"length control needs two verdicts that could be read, not {parsed.sum()}"
        )
    if _is_baseline_itself(rows):
        all_even = np.full(len(parsed), 50.0)
        return LengthControlFit(Estimate(50.0, 50.0, 50.0, 0.0), 0.0, None, {}, all_even)
    design = _design(rows, gamed, parsed)
    final_strength = _choose_strength(design, order) if strength is None else strength
    beta = _fit(design, final_strength)
    fitted = _at_equal_length(beta[None, :], rows)[0]
    value = float(fitted.mean())
    error = float(np.std(fitted, ddof=1) / np.sqrt(len(fitted)))
    neighbor_values = {c: _value(design, rows, c) for c in _neighbors(final_strength)}
    per_row = _contributions(design, parsed, beta, rows)
    estimate = Estimate(value)
    if rounds:
        replicates = _bootstrap_replicates(rows, design, parsed, final_strength, beta, seed, rounds)
        estimate = bootstrap_interval(value, replicates, per_row - per_row.mean())
    return LengthControlFit(
        to_percent(estimate), 100 * error, final_strength, neighbor_values, 100 * per_row
    )


def _is_baseline_itself(rows: ModelRows) -> bool:
    all_draws = np.all(rows.preference[~np.isnan(rows.preference)] == 0.5)
    return bool(all_draws and np.array_equal(rows.length, rows.baseline_length))


def _standard_difference(rows: ModelRows) -> Floats:
    difference = rows.baseline_length - rows.length
    if not difference.any():
        return difference
    if np.ptp(difference) == 0:
        raise CheckError("all answers differ from the baseline's by the same length: no control")
    return np.asarray(difference / np.std(difference, ddof=1))


def _design(rows: ModelRows, gamed: GamedRows, parsed: Mask) -> _Design:
    """Return what is fitted, gamed rows first: liblinear's path depends on the order."""
    known = ~np.isnan(gamed.preference)
    differences = [gamed.standard_difference[known], _standard_difference(rows)[parsed]]
    columns = [np.tanh(np.concatenate(differences))]
    if rows.difficulty is not None:
        columns.append(np.concatenate([gamed.difficulty[known], rows.difficulty[parsed]]))
    ours = np.repeat([0.0, 1.0], [known.sum(), parsed.sum()])
    labels = np.concatenate([gamed.preference[known], rows.preference[parsed]])
    features = np.stack([*columns, ours], axis=1)
    return _Design(features, labels, np.where(ours == 1, 1.0, GAMED_WEIGHT))


def _fit(design: _Design, strength: float) -> Floats:
    return fit_liblinear(design.features, design.labels, design.weights, strength)


def _choose_strength(design: _Design, order: TieOrder) -> float:
    """Return the C with the least mean loss over the folds' held-out rows; of equals the first."""
    fold_index = assign_folds(len(design.labels), FOLDS, order)
    losses = [
        np.mean([_held_out_loss(design, fold_index == fold, c) for fold in range(FOLDS)])
        for c in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(losses))]


def _held_out_loss(design: _Design, held_out: Mask, strength: float) -> float:
    """Return the mean weighted log loss, in nats, of the rows held out."""
    training = _Design(
        design.features[~held_out], design.labels[~held_out], design.weights[~held_out]
    )
    p = np.clip(sigmoid(design.features[held_out] @ _fit(training, strength)), CLIP, 1 - CLIP)
    y = design.labels[held_out]
    return float(-np.mean(design.weights[held_out] * (y * np.log(p) + (1 - y) * np.log(1 - p))))


def _at_equal_length(beta: Floats, rows: ModelRows) -> Floats:
    """Return P(ours preferred) at no difference in length, shape (rounds, n)."""
    logits = np.repeat(beta[:, -1:], len(rows.preference), axis=1)
    if rows.difficulty is not None:
        logits += beta[:, 1:2] * rows.difficulty
    return np.asarray(sigmoid(logits))


def _contributions(design: _Design, parsed: Mask, beta: Floats, rows: ModelRows) -> Floats:
    """Return P(ours preferred) at equal length plus the row's pull on the fit, shape (n,).

    A coefficient that the penalty holds at nought stays there: to first order it does not move.
    """
    fitted, free = _at_equal_length(beta[None, :], rows)[0], beta != 0
    features = design.features[:, free]
    p = sigmoid(features @ beta[free])
    hessian = (features * (design.weights * p * (1 - p))[:, None]).T @ features
    columns = [np.zeros(len(fitted)), rows.difficulty, np.ones(len(fitted))]
    equal_length_rows = np.stack([column for column in columns if column is not None], axis=1)[
        :, free
    ]
    gradient = (fitted * (1 - fitted)) @ equal_length_rows
    ours = slice(-int(parsed.sum()), None)
    shift = (features[ours] * (design.labels - p)[ours, None]) @ np.linalg.solve(hessian, gradient)
    pull = np.zeros(len(fitted))
    pull[parsed] = shift
    return np.asarray(fitted + pull - pull.mean())


def _value(design: _Design, rows: ModelRows, strength: float) -> float:
    return 100 * float(_at_equal_length(_fit(design, strength)[None, :], rows).mean())


def _neighbors(strength: float) -> list[float]:
    """Return the nearest of the values tried below C and above it."""
    below = [c for c in STRENGTHS if c < strength * (1 - STRENGTH_TOLERANCE)]
    above = [c for c in STRENGTHS if c > strength * (1 + STRENGTH_TOLERANCE)]
    return below[-1:] + above[:1]


def _bootstrap_replicates(
    rows: ModelRows,
    design: _Design,
    parsed: Mask,
    strength: float,
    start: Floats,
    seed: int,
    rounds: int,
) -> Floats:
    """Return the figure, a share, of every resample that a verdict is in."""
    source, n = bit_generator(seed), len(rows.preference)
    gamed_weights = design.weights[: len(design.labels) - parsed.sum()]
    block = max(1, BLOCK_SIZE // len(design.labels))
    replicates = []
    for offset in range(0, rounds, block):
        resamples = resample_weights(n, source, min(block, rounds - offset))
        resamples = resamples[resamples[:, parsed].any(axis=1)]
        row_weights = np.hstack([np.tile(gamed_weights, (len(resamples), 1)), resamples[:, parsed]])
        beta = refit(design.features, design.labels, row_weights, strength, start)
        replicates.append((resamples * _at_equal_length(beta, rows)).sum(axis=1) / n)
    return np.concatenate(replicates)
