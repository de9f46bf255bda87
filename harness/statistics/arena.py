"""The analysis of an arena: from pairwise preferences to win rates, ratings, cycles and Nash.

Everything is computed for the sample and for the same resamples of prompts. Intervals are of 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics import bradley_terry, hodge, nash_averaging, pairwise
from harness.statistics.bootstrap import bootstrap_interval
from harness.statistics.intervals import PERCENTILE_LEVELS, normal_quantile
from harness.statistics.logistic import sigmoid
from harness.statistics.pairwise import EVEN, PairTotals, PairwisePreferences, WinRates
from harness.statistics.resampling import Floats, Mask
from harness.statistics.zero_sum import win_rates
from harness.types import Estimate

ROUNDS = 1000
ROUNDING = 1e-9
"""The distance from ½ up to which a comparison is a tie."""
NEAR = 2.0
"""Standard errors within which a response may be the best one."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings in Elo points, 400 of them odds of 10 to 1; their mean is 0."""

    bradley_terry: tuple[Estimate, ...]
    """By contestant; a tie counts as half a win."""
    davidson: tuple[Estimate, ...] | None
    """With ties as an outcome of their own; None where nothing was tied."""
    tie_weight: Estimate | None
    """ν of Davidson's model: two equals tie with probability ν / (2 + ν)."""
    finite: bool
    """False where somebody wins or loses everything, so that only a penalty made ratings finite."""


@dataclass(frozen=True, slots=True)
class Cycles:
    """What a rating cannot explain."""

    share: float
    """The cyclic part's share of the log-odds, without what sampling alone adds, in [0, 1]."""
    raw_share: float
    """The same with it."""
    p: float
    """Of the hypothesis that a rating explains every win rate."""
    strongest: tuple[str, str, str] | None
    """The three-cycle whose weakest win is the strongest: each beats the next."""
    weakest_win: Estimate | None
    """The smallest of its three win rates."""


@dataclass(frozen=True, slots=True)
class NashFigures:
    """The maximum-entropy Nash mixture, and how far each contestant is from it."""

    mixture: tuple[Estimate, ...]
    """The weight of each contestant; a range over resamples, which covers less than 95 % where the
    contestants in the mixture change from resample to resample."""
    value: tuple[Estimate, ...]
    """P(contestant ≻ mixture), at most ½."""
    exploitability: tuple[Estimate, ...]
    """max over the pool of P(j ≻ contestant) − ½."""
    best_response: tuple[str, ...]
    """Who that is: the contestant itself where nobody beats it."""


@dataclass(frozen=True, slots=True)
class ArenaAnalysis:
    """Everything that pairwise preferences on common prompts say about their contestants."""

    names: tuple[str, ...]
    prompts: int
    rounds: int
    win_rates: WinRates
    ratings: Ratings
    cycles: Cycles
    nash: NashFigures


def analyse(
    preferences: PairwisePreferences, *, seed: int = 0, rounds: int = ROUNDS
) -> ArenaAnalysis:
    """Return the analysis of an arena.

    Args:
        preferences: of every pair that was compared, prompt by prompt.
        seed: of the resamples of prompts.
        rounds: how many resamples.

    Raises:
        CheckError: there are fewer than two contestants, or no comparison of a pair was parsed.
    """
    totals = pairwise.resampled_totals(preferences, seed=seed, rounds=rounds)
    return ArenaAnalysis(
        preferences.names,
        len(preferences.values),
        rounds,
        pairwise.estimate_win_rates(preferences, totals),
        estimate_ratings(preferences, totals, seed=seed),
        estimate_cycles(preferences, totals),
        estimate_nash(preferences, totals),
    )


def estimate_ratings(preferences: PairwisePreferences, totals: PairTotals, *, seed: int) -> Ratings:
    """Return Bradley-Terry ratings, and Davidson's where there are ties.

    Args:
        preferences: of every pair that was compared.
        totals: theirs, of the sample and of resamples.
        seed: of those resamples.
    """
    wins = preferences.spread(totals.won, np.maximum(totals.count - totals.won, 0.0), 0.0)
    fits = bradley_terry.bradley_terry(wins)
    influence = _rating_influence(preferences, fits.ratings[0])
    plain = tuple(
        bootstrap_interval(float(column[0]), column[1:], influence[:, i])
        for i, column in enumerate((bradley_terry.ELO * fits.ratings).T)
    )
    if not _tied(preferences).any():
        return Ratings(plain, None, None, bool(fits.finite[0]))
    with_ties = _davidson(preferences, totals, seed=seed)
    assert with_ties.tie_weight is not None
    ratings = pairwise.percentile_estimates(bradley_terry.ELO * with_ties.ratings)
    (weight,) = pairwise.percentile_estimates(with_ties.tie_weight[:, None])
    finite = bool(fits.finite[0] and with_ties.finite[0])
    return Ratings(plain, tuple(ratings), weight, finite)


def _tied(preferences: PairwisePreferences) -> Mask:
    return np.asarray(np.abs(preferences.values - EVEN) < ROUNDING)


def _davidson(
    preferences: PairwisePreferences, totals: PairTotals, *, seed: int
) -> bradley_terry.RatingFits:
    def count(outcomes: Mask) -> Floats:
        marks = np.where(preferences.known, outcomes, np.nan)
        marked = PairwisePreferences(preferences.names, preferences.pairs, marks)
        return pairwise.resampled_totals(marked, seed=seed, rounds=len(totals.won) - 1).won

    won, tied = count(preferences.values > EVEN + ROUNDING), count(_tied(preferences))
    lost = np.maximum(totals.count - won - tied, 0.0)
    return bradley_terry.davidson(
        preferences.spread(won, lost, 0.0), preferences.spread(tied, tied, 0.0)
    )


def _rating_influence(preferences: PairwisePreferences, ratings: Floats) -> Floats:
    """Return each prompt's influence on each rating, up to a factor, (prompts, contestants)."""
    first, second = preferences.pairs.T
    p = sigmoid(ratings[first] - ratings[second])
    known = preferences.known
    rest = np.where(known, preferences.values, p) - p
    incidence = np.zeros((len(first), len(ratings)))
    rows = np.arange(len(first))
    incidence[rows, first], incidence[rows, second] = 1.0, -1.0
    information = (incidence * (known.sum(axis=0) * p * (1 - p))[:, None]).T @ incidence
    return np.asarray(rest @ incidence @ np.linalg.pinv(information))


def estimate_cycles(preferences: PairwisePreferences, totals: PairTotals) -> Cycles:
    """Return the cyclic share, the test of transitivity, and the strongest three-cycle.

    A pair's weight is the information that its comparisons give about its log-odds where a rating
    explains everything: weights from the log-odds themselves would hide the largest deviations.
    """
    log_odds, rates = totals.log_odds(), totals.rates
    count, weights = len(preferences.names), totals.count[0]
    explained = hodge.decompose(log_odds[0], preferences.pairs, weights, count).gradient
    weights = weights * sigmoid(explained) * sigmoid(-explained)
    parts = hodge.decompose(log_odds, preferences.pairs, weights, count)
    matrices = preferences.win_rates(rates)
    compared = preferences.spread(totals.count[0], totals.count[0], 0.0)
    cycle = hodge.strongest_cycle(matrices[0], compared)
    weakest = strongest = None
    if cycle is not None:
        i, j, k = cycle.members
        strongest = (preferences.names[i], preferences.names[j], preferences.names[k])
        replicates = np.minimum(np.minimum(matrices[:, i, j], matrices[:, j, k]), matrices[:, k, i])
        weakest = bootstrap_interval(cycle.weakest, replicates[1:])
    return Cycles(
        hodge.corrected_share(parts, weights),
        float(parts.share[0]),
        hodge.transitivity_p(parts, weights, len(preferences.values)),
        strongest,
        weakest,
    )


def estimate_nash(preferences: PairwisePreferences, totals: PairTotals) -> NashFigures:
    """Return the Nash mixture, each contestant's value against it, and its exploitability."""
    matrices = preferences.win_rates(totals.rates)
    mixture = nash_averaging.nash_mixture(matrices[0])
    mixtures = np.append(mixture[None], nash_averaging.nash_mixtures(matrices[1:]), axis=0)
    values = win_rates(matrices, mixtures)
    values[values > EVEN - nash_averaging.PRECISION] = EVEN  # in the mixture's support
    best = matrices[0].argmax(axis=0)
    return NashFigures(
        tuple(pairwise.percentile_estimates(mixtures)),
        tuple(pairwise.percentile_estimates(values)),
        tuple(_exploitability(matrices[:, :, i], i) for i in range(len(mixture))),
        tuple(preferences.names[b if matrices[0, b, i] > EVEN else i] for i, b in enumerate(best)),
    )


def _exploitability(beating: Floats, contestant: int) -> Estimate:
    """Return max over j of P(j ≻ i) − ½ with an interval that holds where several j are near it.

    The maximum of estimates is too high, the more of them are near it. The upper end is the highest
    of the responses' own upper ends; the lower end is the highest of lower ends that hold for all
    near-best responses at once (after Chernozhukov, Lee and Rosen, Econometrica 81, 2013).

    Args:
        beating: P(j ≻ i) of the sample and of resamples, shape (rounds + 1, contestants).
        contestant: the index of i.
    """
    excess, spread = beating[0] - EVEN, beating[1:].std(axis=0, ddof=1)
    value = float(excess.max())
    plain = normal_quantile(PERCENTILE_LEVELS[1])
    near = (spread > 0) & (excess + NEAR * spread >= (excess - NEAR * spread).max())
    near[contestant] = False
    high = max(0.0, float((excess + plain * spread).max()))
    if not near.any():
        return Estimate(value, value, high, 0.0)
    studentized = (beating[1:, near] - beating[0, near]) / spread[near]
    critical = max(plain, float(np.quantile(studentized.max(axis=1), PERCENTILE_LEVELS[1])))
    low = max(0.0, float((excess[near] - critical * spread[near]).max()))
    error = float(beating[1:].max(axis=1).std(ddof=1))
    return Estimate(value, min(low, value), high, error)
