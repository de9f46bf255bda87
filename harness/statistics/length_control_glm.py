"""AlpacaEval 2.0's length-controlled win rate, exactly as published (arXiv 2404.04475).

    logit p_i = l tanh(d_i / std(d)) + g difficulty_i + b,    d = baseline length - our length

The win rate is the mean of p over all instructions at d = 0. An L1 penalty of strength 1 / C,
chosen by cross-validation, and the rows of a baseline that was instructed to be concise or verbose
(the *gamed* rows: no b, weight 0.1) keep l and g in place.

Deviations from alpaca_eval 0.6.6:

- A bootstrap interval complements the published standard error, which is the spread of p between
  instructions and says nothing about the variation over samples of instructions.
- The folds are the same on every machine. scikit-learn's GroupKFold sorts its groups by size and
  deals them round robin. All groups have one size here, so that the order in which the sort leaves
  equal keys decides the folds; it depends on numpy's version, scikit-learn's version and the CPU.
  `assign_folds` spells the order out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.errors import CheckError
from harness.statistics.bootstrap import bootstrap_interval
from harness.statistics.intervals import to_percent, widen_to_exact
from harness.statistics.logistic import sigmoid
from harness.statistics.resampling import Floats, Indices, Mask, bit_generator, resample_weights
from harness.statistics.sparse_logistic import fit_liblinear, refit
from harness.types import Estimate

TieOrder = Literal["stable", "introsort"]
"""Order of equal keys: unchanged, or as numpy's scalar quicksort leaves them."""
SMALL_RANGE = 16
"""The quicksort leaves ranges of at most this many equal keys unchanged."""
STRENGTHS = tuple(float(c) for c in np.logspace(-4, 4, 10))
"""The candidate values of C."""
FOLDS = 5
ORDERS = 6
"""Random orders of the rows under which C is chosen again, to see how much depends on them."""
GAMED_WEIGHT = 0.1
CLIP = 1e-15
BLOCK_SIZE = 64_000
"""The most numbers that a block of resamples may hold, so that it stays in the CPU's cache."""
STRENGTH_TOLERANCE = 1e-3
"""Relative distance within which a given C counts as one of the candidates."""


@dataclass(frozen=True, slots=True)
class ModelRows:
    """A model's rows, one per instruction; each field has shape (n,)."""

    preference: Floats
    """P(ours preferred) in [0, 1]; NaN where the verdict is unparsed."""
    length: Floats
    """Length of our answers, in code points."""
    baseline_length: Floats
    difficulty: Floats | None
    """Difficulty of the instructions, on the logit scale; None omits the term."""


@dataclass(frozen=True, slots=True)
class GamedRows:
    """The baseline, instructed to be concise or verbose, against itself; fields of shape (m,)."""

    preference: Floats
    """P(the gamed answer preferred)."""
    standard_difference: Floats
    """Baseline length - gamed length, over the standard deviation of its model's rows."""
    difficulty: Floats


@dataclass(frozen=True, slots=True)
class LengthControlFit:
    """The win rate, in percent, with its fit."""

    estimate: Estimate
    """Its interval and standard error come from a bootstrap over instructions at the chosen C."""
    published_error: float
    """`lc_standard_error` as published, in percent: standard error of p between instructions."""
    strength: float | None
    """C; None where no fit was needed."""
    neighbors: Mapping[float, float]
    """The win rate, in percent, at the candidate values of C next to the chosen one."""
    order_range: tuple[float, float]
    """The smallest and the largest win rate, in percent, under this and other orders of the rows in
    cross-validation: C, and with it the figure, depends on which rows share a fold."""
    contributions: Floats
    """Contribution of each row, in percent, shape (n,): their mean is the win rate, and to first
    order their weighted mean is the win rate of reweighted rows (at the same C)."""


@dataclass(frozen=True, slots=True)
class _Design:
    features: Floats
    """Shape (m + parsed, k): tanh of the scaled length difference, difficulty, ours or not."""
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
    """Choose C, fit the model, and predict the win rate at equal length.

    Ties throughout, with answers as long as the baseline's, are the baseline against itself: 50,
    without a fit. Few rows, or equal preferences, are not an error: the gamed rows keep the fit
    finite. The interval comes from refits on resampled instructions, with the gamed rows, std(d)
    and C held fixed.

    Args:
        rows: The model's rows, unparsed verdicts included: p is predicted for them too.
        gamed: Rows of df_gamed.csv, in its order.
        seed: Seed of the resamples.
        rounds: Number of resamples; 0: no interval.
        order: Order of the rows when they are dealt into folds; the leaderboard's is `introsort`.
        strength: C; None: chosen by cross-validation.

    Raises:
        CheckError: fewer than two verdicts were parsed, or all answers differ from the baseline's
            by the same non-zero length.
    """
    parsed = ~np.isnan(rows.preference)
    if parsed.sum() < 2:
        raise CheckError(
            f"length control needs at least two verdicts that were parsed, not {parsed.sum()}"
        )
    if _is_baseline_itself(rows):
        all_ties = np.full(len(parsed), 50.0)
        return LengthControlFit(
            Estimate(50.0, 50.0, 50.0, 0.0), 0.0, None, {}, (50.0, 50.0), all_ties
        )
    design = _design(rows, gamed, parsed)
    final_strength = _choose_strength(design, order) if strength is None else strength
    beta = _fit(design, final_strength)
    fitted = _at_equal_length(beta[None, :], rows)[0]
    value = float(fitted.mean())
    error = float(np.std(fitted, ddof=1) / np.sqrt(len(fitted)))
    neighbor_values = {c: _value(design, rows, c) for c in _neighbors(final_strength)}
    per_row = _contributions(design, parsed, beta, rows)
    estimate, chosen = Estimate(value), bool(rounds) and strength is None
    if rounds:
        replicates = _bootstrap_replicates(rows, design, parsed, final_strength, beta, seed, rounds)
        estimate = bootstrap_interval(value, replicates, per_row - per_row.mean())
        judged = per_row[parsed] - per_row[parsed].mean() + value
        estimate = widen_to_exact(estimate, judged)
    return LengthControlFit(
        to_percent(estimate),
        100 * error,
        final_strength,
        neighbor_values,
        _order_range(design, rows, final_strength, value, seed if chosen else None),
        100 * per_row,
    )


def _is_baseline_itself(rows: ModelRows) -> bool:
    all_ties = np.all(rows.preference[~np.isnan(rows.preference)] == 0.5)
    return bool(all_ties and np.array_equal(rows.length, rows.baseline_length))


def _standard_difference(rows: ModelRows) -> Floats:
    difference = rows.baseline_length - rows.length
    if not difference.any():
        return difference
    if np.ptp(difference) == 0:
        raise CheckError(
            "all answers differ from the baseline's by the same length: it cannot be controlled for"
        )
    return np.asarray(difference / np.std(difference, ddof=1))


def _design(rows: ModelRows, gamed: GamedRows, parsed: Mask) -> _Design:
    """Return the design, gamed rows first: liblinear's path depends on the order."""
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
    """Return the C with the smallest mean held-out loss over the folds; the first of equals."""
    fold_index = assign_folds(len(design.labels), FOLDS, order)
    losses = [
        np.mean([_held_out_loss(design, fold_index == fold, c) for fold in range(FOLDS)])
        for c in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(losses))]


def _order_range(
    design: _Design, rows: ModelRows, strength: float, value: float, seed: int | None
) -> tuple[float, float]:
    """Return the range of the win rate, in percent, over orders; a seed of None: no others."""
    others = set() if seed is None else _strengths_of_orders(design, seed) - {strength}
    values = [100 * value, *(_value(design, rows, c) for c in others)]
    return min(values), max(values)


def _strengths_of_orders(design: _Design, seed: int) -> set[float]:
    """Return the C that cross-validation chooses under each of `ORDERS` random orders."""
    n, source = len(design.labels), bit_generator(seed)
    dealt = np.arange(n) % FOLDS
    folds = [dealt[np.argsort(source.random_raw(n), kind="stable")] for _ in range(ORDERS)]
    held_out = np.array([fold_index == fold for fold_index in folds for fold in range(FOLDS)])
    losses = np.stack([_losses(design, held_out, c) for c in STRENGTHS], axis=1)
    by_order = losses.reshape(ORDERS, FOLDS, len(STRENGTHS)).mean(axis=1)
    return {STRENGTHS[i] for i in np.argmin(by_order, axis=1)}


def _losses(design: _Design, held_out: Mask, strength: float) -> Floats:
    """Return the mean held-out loss of each set of rows, shape (sets,), by refits all at once."""
    weights, start = design.weights * ~held_out, _fit(design, strength)
    beta = refit(design.features, design.labels, weights, strength, start)
    p = np.clip(sigmoid(beta @ design.features.T), CLIP, 1 - CLIP)
    y = design.labels
    loss = -design.weights * (y * np.log(p) + (1 - y) * np.log(1 - p))
    return np.asarray((loss * held_out).sum(axis=1) / held_out.sum(axis=1))


def _held_out_loss(design: _Design, held_out: Mask, strength: float) -> float:
    """Return the mean weighted log loss of the held-out rows, in nats."""
    training = _Design(
        design.features[~held_out], design.labels[~held_out], design.weights[~held_out]
    )
    p = np.clip(sigmoid(design.features[held_out] @ _fit(training, strength)), CLIP, 1 - CLIP)
    y = design.labels[held_out]
    return float(-np.mean(design.weights[held_out] * (y * np.log(p) + (1 - y) * np.log(1 - p))))


def _at_equal_length(beta: Floats, rows: ModelRows) -> Floats:
    """Return P(ours preferred) at equal length, shape (rounds, n)."""
    logits = np.repeat(beta[:, -1:], len(rows.preference), axis=1)
    if rows.difficulty is not None:
        logits += beta[:, 1:2] * rows.difficulty
    return np.asarray(sigmoid(logits))


def _contributions(design: _Design, parsed: Mask, beta: Floats, rows: ModelRows) -> Floats:
    """Return P(ours preferred) at equal length plus the row's influence on the fit, shape (n,).

    A coefficient that the penalty holds at zero stays there: to first order it does not move.
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
    """Return the nearest candidates below and above C."""
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
    """Return the win rate, as a share, of every resample that has a parsed verdict."""
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


def assign_folds(n: int, k: int, order: TieOrder = "stable") -> Indices:
    """Return the fold, 0 to k - 1, of each of n groups of one size, shape (n,).

    The groups are dealt from the end of the order; scikit-learn uses `stable` from 1.9 on.
    """
    ranking = np.arange(n) if order == "stable" else introsort_order(n)
    assigned = np.empty(n, dtype=np.int64)
    assigned[ranking[::-1]] = np.arange(n) % k
    return assigned


def introsort_order(n: int) -> Indices:
    """Return the order in which a quicksort with a median-of-three pivot leaves n equal keys.

    Element q of the result, shape (n,), is the key that ends at position q. Comparing equal keys
    never moves the bounds by more than one position, so that every partition reverses its range.
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
    """Partition first..last in place, both included; return the position of the pivot."""
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
