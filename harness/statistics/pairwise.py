"""Win rates of every pair of contestants on the same prompts, with intervals clustered by prompt.

All pairs share the resamples of prompts, so that whatever is computed from the whole matrix (the
ratings, the cycles, the Nash mixture) varies as it would with other prompts. A comparison is
P(first ≻ second) averaged over both orders; one that could not be parsed is missing, not a tie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import CheckError
from harness.statistics.bootstrap import bootstrap_interval
from harness.statistics.intervals import SHARE, widen_to_exact
from harness.statistics.paired import FAMILYWISE_ERROR, holm, p_values
from harness.statistics.resampling import Floats, Indices, Mask, bit_generator, resample_weights
from harness.types import Estimate

EVEN = 0.5
"""The win rate of a contestant against its like."""
BLOCK = 4_000_000
"""The most numbers that a block of resamples may hold."""


@dataclass(frozen=True, slots=True)
class PairwisePreferences:
    """What was preferred, prompt by prompt, in every pair of contestants."""

    names: tuple[str, ...]
    pairs: Indices
    """The two contestants of each pair by index, the smaller first, shape (pairs, 2)."""
    values: Floats
    """P(first ≻ second) over both orders, shape (prompts, pairs); not a number where missing."""

    def __post_init__(self) -> None:
        if len(self.names) < 2 or not len(self.pairs):
            raise CheckError("an arena has two contestants at least, and a pair that is compared")
        if not self.known.any(axis=0).all():
            first, second = self.pairs[int(np.argmin(self.known.any(axis=0)))]
            raise CheckError(
                f"no comparison of {self.names[first]} with {self.names[second]} could be parsed: "
                "name another judge or oracle, or leave one of the two out"
            )

    @property
    def known(self) -> Mask:
        """Whether each comparison counts, shape (prompts, pairs)."""
        return np.asarray(~np.isnan(self.values))

    def spread(self, values: Floats, opposite: Floats, diagonal: float) -> Floats:
        """Return figures of pairs as matrices, shape (..., contestants, contestants).

        Args:
            values: of first against second, shape (..., pairs).
            opposite: of second against first, likewise.
            diagonal: a contestant's against itself, which also fills pairs that were not compared.
        """
        count = len(self.names)
        matrix = np.full((*values.shape[:-1], count, count), diagonal)
        first, second = self.pairs.T
        matrix[..., first, second], matrix[..., second, first] = values, opposite
        return matrix

    def win_rates(self, rates: Floats) -> Floats:
        """Return P(row ≻ column) of pairs' rates (..., pairs); ½ where a pair was not compared."""
        return self.spread(rates, 1 - rates, EVEN)


@dataclass(frozen=True, slots=True)
class PairTotals:
    """Sums of preferences and their counts by pair, in the sample and in each resample."""

    won: Floats
    """Shape (rounds + 1, pairs): the sample first."""
    count: Floats

    @property
    def rates(self) -> Floats:
        """Win rates of the first; a resample without any comparison takes the sample's."""
        rates = np.divide(
            self.won,
            self.count,
            out=np.broadcast_to(self.won[0] / self.count[0], self.won.shape).copy(),
            where=self.count > 0,
        )
        return np.asarray(np.clip(rates, 0.0, 1.0))

    def log_odds(self) -> Floats:
        """Return log-odds, shape (rounds + 1, pairs), with half a comparison won and one lost."""
        won, lost = self.won + 0.5, np.maximum(self.count - self.won, 0.0) + 0.5
        return np.asarray(np.log(won / lost))


def resampled_totals(preferences: PairwisePreferences, *, seed: int, rounds: int) -> PairTotals:
    """Return the totals of the sample and of `rounds` resamples of its prompts."""
    known = preferences.known.astype(np.float64)
    won = np.where(preferences.known, preferences.values, 0.0)
    complete = bool(known.all())
    prompts, source = len(known), bit_generator(seed)
    block = max(1, BLOCK // prompts)
    totals = [(won.sum(axis=0, keepdims=True), known.sum(axis=0, keepdims=True))]
    for start in range(0, rounds, block):
        weights = resample_weights(prompts, source, min(block, rounds - start))
        counts = np.full((len(weights), won.shape[1]), float(prompts))
        totals.append((weights @ won, counts if complete else weights @ known))
    sums, counts = (np.concatenate(parts) for parts in zip(*totals, strict=True))
    return PairTotals(sums, counts)


@dataclass(frozen=True, slots=True)
class WinRates:
    """P(row ≻ column) with its uncertainty, each field (contestants, contestants)."""

    value: Floats
    low: Floats
    """Ends of the 95 % intervals; the diagonal is ½."""
    high: Floats
    p: Floats
    """Two-sided p of ½, after Holm's correction over all pairs."""
    count: Floats
    """How many comparisons were parsed; zero where a pair was not compared."""

    @property
    def significant(self) -> Mask:
        """Whether a win rate differs from ½ at a family-wise error of 5 %."""
        return np.asarray(self.p <= FAMILYWISE_ERROR)


def estimate_win_rates(preferences: PairwisePreferences, totals: PairTotals) -> WinRates:
    """Return the matrix of win rates, with intervals over prompts and Holm's p-values."""
    rates = totals.rates
    estimates = [
        _pair_estimate(column[~np.isnan(column)], rates[0, i], rates[1:, i])
        for i, column in enumerate(preferences.values.T)
    ]
    low, high = (
        np.array([getattr(e, side) for e in estimates], dtype=np.float64)
        for side in ("low", "high")
    )
    adjusted = holm(np.array([_p_even(column) for column in preferences.values.T]))
    count = totals.count[0]
    return WinRates(
        preferences.win_rates(rates[0]),
        preferences.spread(low, 1 - high, EVEN),
        preferences.spread(high, 1 - low, EVEN),
        preferences.spread(adjusted, adjusted, 1.0),
        preferences.spread(count, count, 0.0),
    )


def _pair_estimate(values: Floats, rate: float, replicates: Floats) -> Estimate:
    if len(values) < 2:
        return widen_to_exact(Estimate(float(rate)), values, SHARE)
    estimate = bootstrap_interval(float(rate), replicates, values - values.mean())
    return widen_to_exact(estimate, values, SHARE)


def _p_even(values: Floats) -> float:
    """Return the two-sided p of a mean of ½, never below what a sign test could give."""
    decided = values[~np.isnan(values)]
    if len(decided) < 2:
        return 1.0
    error = np.array(decided.std(ddof=1) / np.sqrt(len(decided)))
    p = p_values(np.array(decided.mean() - EVEN), error, np.array(len(decided) - 1.0))
    least = 2.0 ** (1 - int(np.sum(decided != EVEN)))
    return max(float(p), min(1.0, least))


def all_pairs(contestants: int) -> Indices:
    """Return every pair of contestants, the smaller index first, shape (pairs, 2)."""
    return np.stack(np.triu_indices(contestants, 1), axis=1).astype(np.int64)


def percentile_estimates(replicates: Floats) -> list[Estimate]:
    """Return estimates of columns, the first row the sample's, with intervals by percentiles."""
    return [bootstrap_interval(float(c[0]), c[1:]) for c in replicates.T]
