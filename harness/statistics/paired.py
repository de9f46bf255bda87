"""Which contestants differ: paired bootstraps over the prompts that two of them share.

A contestant's figure is a ratio of sums over prompts: of points and their weight (Arena-Hard), of
values and ones (a mean), of influence and ones (length control, see `influence`). Two contestants
are compared on the prompts that both have; the same resamples of prompts serve everybody. The
spread of the resampled differences, times sqrt(n / (n - 1)), is their standard error; p is
Student's with n - 1 degrees of freedom, two-sided, because counting resamples beyond nought could
not tell p < 1 / rounds, which Holm's correction for many contestants needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from harness.statistics.repeats import Repeated, freedom
from harness.statistics.resampling import Floats, Mask, stream, weights
from harness.statistics.student import two_sided

FAMILY, POWER = 0.05, 0.8
"""The error that a family of tests may make; how surely the smallest difference is found."""
NOTHING = 1e-9
"""What rounding leaves of a weight or of a spread that is nought."""


@dataclass(frozen=True, slots=True)
class Played:
    """What every contestant has on every prompt, each field of shape (prompts, contestants)."""

    top: Floats
    """Points, or values; nought where there are none."""
    bottom: Floats
    """What they weigh; nought where the prompt was not judged."""

    @property
    def known(self) -> Mask:
        """Say which prompts count for whom."""
        return self.bottom > 0


@dataclass(frozen=True, slots=True)
class Differences:
    """Row contestant less column contestant, each field of shape (contestants, contestants)."""

    value: Floats
    """NaN where two share no prompt."""
    error: Floats
    """Standard error; NaN where two share fewer than two prompts."""
    shared: Floats
    """How many prompts both have."""
    free: Floats
    """Degrees of freedom of the error."""
    p: Floats
    """Two-sided; 1 where the data cannot tell."""


def differences(
    played: Played, *, seed: int, rounds: int = 1000, repeated: Repeated | None = None
) -> Differences:
    """Compare everybody with everybody on their shared prompts.

    Where contestants are means over seeds, `repeated` says what these add to the error.
    """
    known = played.known
    drawn = weights(len(known), stream(seed), rounds)
    pairs = _alike if np.all(known == known[:, :1]) else _apart
    value, error = pairs(played, drawn)
    shared = known.astype(np.float64).T @ known
    scale = np.sqrt(shared / np.maximum(shared - 1, 1))
    error = np.where(shared > 1, error * scale, np.nan)
    free = np.maximum(shared - 1, 1)
    if repeated is not None:
        error, free = _with_seeds(error, free, repeated)
    return Differences(value, error, shared, free, p_values(value, error, free))


def _with_seeds(error: Floats, free: Floats, repeated: Repeated) -> tuple[Floats, Floats]:
    """Return standard errors and degrees of freedom that count two contestants' seeds."""
    own, other = np.ix_(repeated.variance, repeated.variance)
    ones, others = np.ix_(repeated.freedom, repeated.freedom)
    apart = ~np.eye(len(error), dtype=bool)  # nobody differs from itself, whatever its seeds
    parts = [(error**2, free), (own * apart, ones), (other * apart, others)]
    whole = np.sqrt(sum(variance for variance, _ in parts))
    return whole, np.where(
        np.isnan(whole), free, freedom([(np.nan_to_num(v), f) for v, f in parts])
    )


def p_values(value: Floats, error: Floats, free: Floats) -> Floats:
    """Return the two-sided p of differences; a difference without any spread is certain."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = two_sided(np.nan_to_num(value / error), free)
    flat = np.where(np.abs(value) <= NOTHING, 1.0, 0.0)
    found = np.where(error <= NOTHING, flat, found)
    return np.where(np.isnan(error) | np.isnan(value), 1.0, found)


def holm(p: Floats) -> Floats:
    """Return p, shape (tests,), corrected for the number of tests by Holm's method."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(stepped, 1.0)
    return found


def top_group(differing: Differences, best: int) -> Mask:
    """Say who is not told from the best, shape (contestants,).

    The best was chosen by looking, so the family is all pairs, not the pairs with the best alone.
    """
    count = len(differing.p)
    one, other = np.triu_indices(count, 1)
    corrected = np.ones((count, count))
    corrected[one, other] = holm(differing.p[one, other])
    corrected = np.minimum(corrected, corrected.T)
    return np.asarray(corrected[best] > FAMILY)


def unlike(differing: Differences, baseline: int) -> Mask:
    """Say who differs from a baseline that was named beforehand, shape (contestants,)."""
    others = np.arange(len(differing.p)) != baseline
    found = np.zeros(len(differing.p), dtype=bool)
    found[others] = holm(differing.p[others, baseline]) <= FAMILY
    return found


def resolvable(error: float) -> float:
    """Return the difference that one two-sided test at 5 % finds four times in five."""
    normal = NormalDist()
    return error * (normal.inv_cdf(1 - FAMILY / 2) + normal.inv_cdf(POWER))


def _alike(played: Played, drawn: Floats) -> tuple[Floats, Floats]:
    """Return differences and spreads where everybody has the same prompts."""
    top, bottom = played.top.sum(axis=0), played.bottom.sum(axis=0)
    figures = _ratio(top, bottom)
    resampled = _ratio(drawn @ played.top, drawn @ played.bottom)
    resampled = resampled[~np.isnan(resampled).any(axis=1)]
    centred = resampled - resampled.mean(axis=0)
    moved = centred.T @ centred / max(1, len(centred) - 1)
    own = np.diag(moved)
    spread = np.sqrt(np.maximum(own[:, None] + own - 2 * moved, 0.0))
    return figures[:, None] - figures, _clean(spread)


def _apart(played: Played, drawn: Floats) -> tuple[Floats, Floats]:
    """Return differences and spreads, every pair on the prompts of its own that it shares."""
    count = played.top.shape[1]
    value, spread = np.zeros((count, count)), np.zeros((count, count))
    once, rounds = (_Sums.of(played, each) for each in (np.ones((1, len(played.top))), drawn))
    for i in range(count):
        value[i, i:] = once.less(i)[0]
        spread[i, i:] = _deviation(rounds.less(i))
    lower = np.tril_indices(count, -1)
    value[lower], spread[lower] = -value.T[lower], spread.T[lower]
    return value, spread


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over all prompts, from which those that a pair does not share are taken away."""

    played: Played
    """The prompts that somebody lacks, and no others."""
    drawn: Floats
    """Weights of those prompts, shape (rounds, lacked)."""
    top: Floats
    """Weighted sums over all prompts, shape (rounds, contestants); so is `bottom`."""
    bottom: Floats

    @classmethod
    def of(cls, played: Played, drawn: Floats) -> _Sums:
        lacked = ~played.known.all(axis=1)
        some = Played(played.top[lacked], played.bottom[lacked])
        return cls(some, drawn[:, lacked], drawn @ played.top, drawn @ played.bottom)

    def less(self, i: int) -> Floats:
        """Return i's figure less that of i and all after it, shape (rounds, contestants - i)."""
        some, rest = self.played, slice(i, None)
        missing = (~some.known).astype(np.float64)
        top, bottom = (self.drawn * side[:, i] for side in (some.top, some.bottom))
        ours = _ratio(
            self.top[:, i, None] - top @ missing[:, rest],
            self.bottom[:, i, None] - bottom @ missing[:, rest],
        )
        own = self.drawn * missing[:, i]
        theirs = _ratio(
            self.top[:, rest] - own @ some.top[:, rest],
            self.bottom[:, rest] - own @ some.bottom[:, rest],
        )
        return ours - theirs


def _deviation(moved: Floats) -> Floats:
    """Return the standard deviation of every column, resamples without a shared prompt left out."""
    told = ~np.isnan(moved)
    count = np.maximum(told.sum(axis=0), 1)
    kept = np.where(told, moved, 0.0)
    centred = np.where(told, moved - kept.sum(axis=0) / count, 0.0)
    return _clean(np.sqrt((centred**2).sum(axis=0) / np.maximum(count - 1, 1)))


def _clean(spread: Floats) -> Floats:
    return np.asarray(np.where(spread < NOTHING, 0.0, spread))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    weighs = bottom > NOTHING
    return np.asarray(np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=weighs))
