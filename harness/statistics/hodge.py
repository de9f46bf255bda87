"""What no rating can explain: the cyclic part of a matrix of log-odds, and a test for it.

The Hodge decomposition (Jiang, Lim, Yao and Ye, arXiv 0811.1067) splits log-odds into differences
of a potential, which a rating explains exactly, and a rest, orthogonal to it, which runs in cycles.
"Transitive" here means that a rating explains every win rate; an order without cycles can still
differ from that, and then has a cyclic part as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.statistics.resampling import Floats, Indices


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Log-odds of pairs as differences of a potential and a rest."""

    potential: Floats
    """Shape (..., contestants), in nats; its mean is zero."""
    gradient: Floats
    """The potential's differences, shape (..., pairs), in nats."""
    residual: Floats
    """The cyclic part, likewise."""
    cyclic: Floats
    """The weighted sum of squares of the cyclic part, shape (...)."""
    total: Floats
    """That of the log-odds."""

    @property
    def share(self) -> Floats:
        """The cyclic part's share of the sum of squares, 0 where all log-odds are zero."""
        return np.divide(
            self.cyclic, self.total, out=np.zeros_like(self.total), where=self.total > 0
        )


@dataclass(frozen=True, slots=True)
class ThreeCycle:
    """Three contestants of which each beats the next, and the last the first."""

    members: tuple[int, int, int]
    weakest: float
    """The smallest of the three win rates."""


def decompose(log_odds: Floats, pairs: Indices, weights: Floats, contestants: int) -> Decomposition:
    """Return the Hodge decomposition of log-odds, with weights.

    Args:
        log_odds: of first against second, shape (..., pairs).
        pairs: the two contestants of each pair, shape (pairs, 2).
        weights: of the pairs, shape (pairs,), above zero.
        contestants: how many there are.
    """
    incidence = np.zeros((len(pairs), contestants))
    rows = np.arange(len(pairs))
    incidence[rows, pairs[:, 0]], incidence[rows, pairs[:, 1]] = 1.0, -1.0
    root = np.sqrt(weights)
    solver = np.linalg.pinv(root[:, None] * incidence) * root
    potential = log_odds @ solver.T
    gradient = potential @ incidence.T
    residual = log_odds - gradient
    return Decomposition(
        potential,
        gradient,
        residual,
        np.asarray((weights * residual**2).sum(axis=-1)),
        np.asarray((weights * log_odds**2).sum(axis=-1)),
    )


def corrected_share(decomposition: Decomposition, weights: Floats) -> float:
    """Return the cyclic share less what sampling alone is expected to add to it, in [0, 1].

    Args:
        decomposition: of the sample's log-odds, in its first row, and of resamples'.
        weights: of the pairs, shape (pairs,).
    """
    residual, total = decomposition.residual, float(decomposition.total[0])
    noise = float((weights * (residual[1:] - residual[0]) ** 2).sum(axis=-1).mean())
    return max(0.0, float(decomposition.cyclic[0]) - noise) / total if total > 0 else 0.0


def transitivity_p(decomposition: Decomposition, weights: Floats, prompts: int) -> float:
    """Return p of "a rating explains every win rate", by a bootstrap over prompts.

    The cyclic part of the sample is compared with how far those of resamples lie from it. A sum of
    many squares varies more from resample to resample than from sample to sample, because resamples
    have the sample's covariance, not the true one: with Σ̂ of n prompts, tr(Σ̂²) is tr(Σ²) plus
    (tr Σ)² / n, which is taken off.

    Args:
        decomposition: of the sample's log-odds, in its first row, and of resamples'.
        weights: of the pairs, shape (pairs,).
        prompts: how many prompts were resampled.
    """
    residual = decomposition.residual
    observed = float((weights * residual[0] ** 2).sum())
    centered = (weights * (residual[1:] - residual[0]) ** 2).sum(axis=-1)
    mean, variance = float(centered.mean()), max(float(centered.var(ddof=1)), 1e-300)
    shrinkage = np.sqrt(max(1 - 2 * mean**2 / prompts / variance, 0.1))
    expected = mean + shrinkage * (centered - mean)
    return float((1 + np.sum(expected >= observed)) / (1 + len(centered)))


def strongest_cycle(win_rates: Floats, compared: Floats) -> ThreeCycle | None:
    """Return the three-cycle whose weakest win is the strongest; None where there is none.

    Args:
        win_rates: P(row ≻ column), shape (contestants, contestants).
        compared: how often each pair was compared, likewise.
    """
    edges = np.where((compared > 0) & (win_rates > 0.5), win_rates, 0.0)
    best, members = 0.0, (0, 0, 0)
    for i, row in enumerate(edges):
        third = np.minimum(edges, edges[:, i])  # j beats k, k beats i
        weakest = np.minimum(row[:, None], np.minimum(third, edges[None, :, i]))
        j, k = np.unravel_index(int(weakest.argmax()), weakest.shape)
        if weakest[j, k] > best:
            best, members = float(weakest[j, k]), (i, int(j), int(k))
    return ThreeCycle(members, best) if best > 0 else None
