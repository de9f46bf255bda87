"""Paired bootstrap tests between contestants over the prompts that two of them share.

A contestant's estimate is a ratio of sums over prompts: of points and their weight (Arena-Hard), of
values and ones (a mean), of contributions and ones (length control, see `length_control`). Two
contestants are compared on the prompts that both have; all pairs share the same resamples of
prompts. The standard deviation of the resampled differences, times sqrt(n / (n - 1)), is their
standard error. p is two-sided from Student's t with n - 1 degrees of freedom, because counting
resamples beyond zero cannot resolve p < 1 / rounds, which Holm's correction for many contestants
needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.statistics.intervals import t_critical, t_two_sided
from harness.statistics.resampling import Floats, Mask, bit_generator, resample_weights
from harness.statistics.seeds import SeedVariance, effective_degrees_of_freedom

FAMILYWISE_ERROR, POWER = 0.05, 0.8
"""Family-wise error rate of the tests; power of the minimum detectable difference."""
EPSILON = 1e-9
"""Weights and standard deviations up to this are rounding errors of zero."""


@dataclass(frozen=True, slots=True)
class PromptTotals:
    """Points and weight of every contestant on every prompt, of shape (prompts, contestants)."""

    points: Floats
    """Points, or values; zero where the prompt was not judged."""
    weight: Floats
    """Their weight; zero where the prompt was not judged."""

    @classmethod
    def of(cls, contestants: Sequence[Mapping[str, tuple[float, float]]]) -> PromptTotals:
        """Return the totals of contestants, each a mapping of (points, weight) by prompt."""
        prompts = list(dict.fromkeys(prompt for totals in contestants for prompt in totals))
        rows = [[totals.get(prompt, (0.0, 0.0)) for totals in contestants] for prompt in prompts]
        table = np.array(rows, dtype=np.float64).reshape(len(prompts), len(contestants), 2)
        return cls(table[:, :, 0], table[:, :, 1])

    @property
    def known(self) -> Mask:
        """Whether each prompt counts for each contestant."""
        return self.weight > 0


@dataclass(frozen=True, slots=True)
class Differences:
    """Row contestant minus column contestant, each field of shape (contestants, contestants)."""

    value: Floats
    """NaN where two share no prompt."""
    error: Floats
    """Standard error; NaN where two share fewer than two prompts."""
    shared: Floats
    """Number of shared prompts."""
    degrees_of_freedom: Floats
    """Degrees of freedom of the standard error."""
    p: Floats
    """Two-sided; 1 where the difference or its error is undefined."""
    seed_variance: SeedVariance | None = None
    """The variance between seeds that the standard error includes; None: prompts alone."""

    @property
    def is_tested(self) -> Mask:
        """Whether two contestants can be compared: they share two prompts or more."""
        return np.asarray(~(np.isnan(self.error) | np.isnan(self.value)))

    def components(self, i: int, j: int) -> list[tuple[float, float]]:
        """Return the variances of a difference with their degrees of freedom; see `seeds`."""
        prompts = max(1.0, float(self.shared[i, j]) - 1)
        total = float(self.error[i, j]) ** 2
        if self.seed_variance is None:
            return [(total, prompts)]
        seeds = [
            (float(self.seed_variance.variance[k]), float(self.seed_variance.degrees_of_freedom[k]))
            for k in (i, j)
        ]
        varying = [pair for pair in seeds if pair[0] > 0]
        return [(max(0.0, total - sum(variance for variance, _ in varying)), prompts), *varying]


def paired_differences(
    totals: PromptTotals,
    *,
    seed: int,
    rounds: int = 1000,
    seed_variance: SeedVariance | None = None,
) -> Differences:
    """Compare all contestants pairwise on their shared prompts.

    Where contestants are means over seeds, `seed_variance` adds the variance between seeds.
    """
    known = totals.known
    resamples = resample_weights(len(known), bit_generator(seed), rounds)
    compare = _compare_complete if np.all(known == known[:, :1]) else _compare_incomplete
    value, error = compare(totals, resamples)
    shared = known.astype(np.float64).T @ known
    scale = np.sqrt(shared / np.maximum(shared - 1, 1))
    error = np.where(shared > 1, error * scale, np.nan)
    degrees_of_freedom = np.maximum(shared - 1, 1)
    if seed_variance is not None:
        error, degrees_of_freedom = _add_seed_variance(error, degrees_of_freedom, seed_variance)
    p = p_values(value, error, degrees_of_freedom)
    return Differences(value, error, shared, degrees_of_freedom, p, seed_variance)


def _add_seed_variance(
    error: Floats, degrees_of_freedom: Floats, seed_variance: SeedVariance
) -> tuple[Floats, Floats]:
    """Return standard errors and degrees of freedom that include the variance between seeds.

    What is in the variance over prompts and in that between seeds counts once; no difference is
    surer than over prompts alone.
    """
    row_variance, column_variance = np.ix_(seed_variance.variance, seed_variance.variance)
    row_freedom, column_freedom = np.ix_(
        seed_variance.degrees_of_freedom, seed_variance.degrees_of_freedom
    )
    off_diagonal = ~np.eye(len(error), dtype=bool)  # no contestant differs from itself
    noise = np.add.outer(seed_variance.noise, seed_variance.noise) * off_diagonal
    components = [
        (np.maximum(error**2 - noise, 0.0), degrees_of_freedom),
        (row_variance * off_diagonal, row_freedom),
        (column_variance * off_diagonal, column_freedom),
    ]
    total_error = np.sqrt(sum(variance for variance, _ in components))
    freedom = effective_degrees_of_freedom([(np.nan_to_num(v), f) for v, f in components])
    by_prompts = error * t_critical(degrees_of_freedom)
    is_narrower = total_error * t_critical(freedom) < by_prompts  # never where an error is NaN
    keeps_prompts = is_narrower | np.isnan(total_error)
    return (
        np.where(is_narrower, error, total_error),
        np.where(keeps_prompts, degrees_of_freedom, freedom),
    )


def p_values(value: Floats, error: Floats, degrees_of_freedom: Floats) -> Floats:
    """Return two-sided p-values, elementwise; a difference without any spread is certain."""
    with np.errstate(divide="ignore", invalid="ignore"):
        p = t_two_sided(np.nan_to_num(value / error), degrees_of_freedom)
    certain = np.where(np.abs(value) <= EPSILON, 1.0, 0.0)
    p = np.where(error <= EPSILON, certain, p)
    return np.where(np.isnan(error) | np.isnan(value), 1.0, p)


def holm(p: Floats) -> Floats:
    """Return p-values, shape (tests,), adjusted by Holm's method."""
    order = np.argsort(p, kind="stable")
    stepwise = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepwise, 1.0)
    return corrected


def holm_matrix(comparison: Differences) -> Floats:
    """Return p, adjusted by Holm's method over all pairs that can be tested; 1 for the others."""
    pairs = np.nonzero(np.triu(comparison.is_tested, 1))
    adjusted = np.ones_like(comparison.p)
    adjusted[pairs] = holm(comparison.p[pairs])
    return np.minimum(adjusted, adjusted.T)


def top_group(comparison: Differences, best: int) -> Mask:
    """Return the mask of contestants not significantly different from the best.

    The best was selected on the same data, so that the family is all pairs, not the pairs with the
    best alone.
    """
    return np.asarray(holm_matrix(comparison)[best] > FAMILYWISE_ERROR)


def differs_from_baseline(comparison: Differences, baseline: int) -> Mask:
    """Return the mask of contestants that differ significantly from a baseline fixed in advance."""
    others = comparison.is_tested[baseline] & (np.arange(len(comparison.p)) != baseline)
    significant = np.zeros(len(comparison.p), dtype=bool)
    significant[others] = holm(comparison.p[others, baseline]) <= FAMILYWISE_ERROR
    return significant


def _compare_complete(totals: PromptTotals, resamples: Floats) -> tuple[Floats, Floats]:
    """Return differences and standard deviations where all contestants share all prompts."""
    points, weight = totals.points.sum(axis=0), totals.weight.sum(axis=0)
    ratios = _ratio(points, weight)
    replicates = _ratio(resamples @ totals.points, resamples @ totals.weight)
    replicates = replicates[~np.isnan(replicates).any(axis=1)]
    centered = replicates - replicates.mean(axis=0)
    covariance = centered.T @ centered / max(1, len(centered) - 1)
    variances = np.diag(covariance)
    spread = np.sqrt(np.maximum(variances[:, None] + variances - 2 * covariance, 0.0))
    return ratios[:, None] - ratios, _without_rounding(spread)


def _compare_incomplete(totals: PromptTotals, resamples: Floats) -> tuple[Floats, Floats]:
    """Return differences and standard deviations, each pair on the prompts that it shares."""
    count = totals.points.shape[1]
    value, spread = np.zeros((count, count)), np.zeros((count, count))
    observed, replicates = (
        _ResampledSums.of(totals, row_weights)
        for row_weights in (np.ones((1, len(totals.points))), resamples)
    )
    for i in range(count):
        value[i, i:] = observed.differences_from(i)[0]
        spread[i, i:] = _standard_deviation(replicates.differences_from(i))
    lower = np.tril_indices(count, -1)
    value[lower], spread[lower] = -value.T[lower], spread.T[lower]
    return value, spread


@dataclass(frozen=True, slots=True)
class _ResampledSums:
    """Sums over all prompts, from which the prompts that a pair does not share are subtracted."""

    incomplete: PromptTotals
    """The prompts that at least one contestant lacks."""
    resamples: Floats
    """Resample weights of those prompts, shape (rounds, incomplete prompts)."""
    points: Floats
    """Weighted sums over all prompts, shape (rounds, contestants); so is `weight`."""
    weight: Floats

    @classmethod
    def of(cls, totals: PromptTotals, resamples: Floats) -> _ResampledSums:
        is_incomplete = ~totals.known.all(axis=1)
        subset = PromptTotals(totals.points[is_incomplete], totals.weight[is_incomplete])
        return cls(
            subset,
            resamples[:, is_incomplete],
            resamples @ totals.points,
            resamples @ totals.weight,
        )

    def differences_from(self, i: int) -> Floats:
        """Return i minus each contestant from i on, shape (rounds, contestants - i)."""
        subset, columns = self.incomplete, slice(i, None)
        missing = (~subset.known).astype(np.float64)
        points, weight = (
            self.resamples * values[:, i] for values in (subset.points, subset.weight)
        )
        ours = _ratio(
            self.points[:, i, None] - points @ missing[:, columns],
            self.weight[:, i, None] - weight @ missing[:, columns],
        )
        own_missing = self.resamples * missing[:, i]
        theirs = _ratio(
            self.points[:, columns] - own_missing @ subset.points[:, columns],
            self.weight[:, columns] - own_missing @ subset.weight[:, columns],
        )
        return ours - theirs


def _standard_deviation(replicates: Floats) -> Floats:
    """Return each column's standard deviation, leaving out resamples without a shared prompt."""
    valid = ~np.isnan(replicates)
    count = np.maximum(valid.sum(axis=0), 1)
    values = np.where(valid, replicates, 0.0)
    centered = np.where(valid, replicates - values.sum(axis=0) / count, 0.0)
    return _without_rounding(np.sqrt((centered**2).sum(axis=0) / np.maximum(count - 1, 1)))


def _without_rounding(spread: Floats) -> Floats:
    return np.asarray(np.where(spread < EPSILON, 0.0, spread))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    is_weighted = denominator > EPSILON
    return np.asarray(
        np.divide(
            numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=is_weighted
        )
    )
