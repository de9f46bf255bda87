"""Which comparisons to make where not all can be paid for: a sparse design, D-optimal for ratings.

Comparisons are chosen one by one, each the one that adds most to the determinant of the information
about Bradley-Terry ratings (a greedy form of Fedorov's exchange). Every prompt is used about
equally often, and no pair twice on one prompt. Comparisons on the same prompt share their answers,
so that ratings lose less than the saved comparisons suggest; single win rates lose it all.
"""

from __future__ import annotations

import numpy as np

from harness.errors import ConfigError
from harness.statistics.logistic import sigmoid
from harness.statistics.pairwise import all_pairs
from harness.statistics.resampling import Floats, Indices, Mask

PRIOR = 1e-3
"""The information about each rating before any comparison."""
JITTER = 1e-6
"""Relative differences between equally good comparisons, so that a seed decides between them."""
LEAST = 5
"""Comparisons of each pair that a sparse design has at least."""


def check_comparisons(contestants: int, prompts: int, comparisons: int) -> None:
    """Refuse a number of comparisons, a pair in both orders counted once, that is too small.

    Raises:
        ConfigError: not every pair would get a win rate.
    """
    pairs = contestants * (contestants - 1) // 2
    least = pairs * min(LEAST, prompts)
    if comparisons < least:
        raise ConfigError(
            f"{2 * comparisons} comparisons are too few: {pairs} pairs need {LEAST} "
            f"prompts each in both orders, --comparisons {2 * least} at least"
        )


def sparse_design(
    contestants: int,
    prompts: int,
    comparisons: int,
    *,
    seed: int,
    ratings: Floats | None = None,
    existing: Mask | None = None,
) -> Mask:
    """Return which further comparisons to make, shape (prompts, pairs).

    Args:
        contestants: how many.
        prompts: how many.
        comparisons: how many there are in the end, those that exist included.
        seed: decides between comparisons that are equally good.
        ratings: in nats, as far as they are known; None: all alike.
        existing: comparisons that exist already, of the same shape.
    """
    pairs = all_pairs(contestants)
    first, second = pairs.T
    strengths = np.zeros(contestants) if ratings is None else ratings
    weight = sigmoid(strengths[first] - strengths[second])
    weight = weight * (1 - weight)
    taken = np.zeros((prompts, len(pairs)), dtype=bool) if existing is None else existing.copy()
    chosen = np.zeros_like(taken)
    inverse = _inverse_information(taken.sum(axis=0) * weight, pairs, contestants)
    counts = taken.sum(axis=0)
    rng = np.random.default_rng(seed)
    for prompt in _turns(taken, comparisons, rng):
        diagonal = np.diagonal(inverse)
        leverage = weight * (diagonal[first] + diagonal[second] - 2 * inverse[first, second])
        leverage = leverage * (1 + JITTER * rng.random(len(pairs)))
        leverage[counts < min(LEAST, prompts)] += leverage.max()  # every pair gets a win rate
        leverage[taken[prompt]] = -1.0
        best = int(leverage.argmax())
        taken[prompt, best] = chosen[prompt, best] = True
        counts[best] += 1
        i, j = pairs[best]
        column = inverse[:, i] - inverse[:, j]
        gain = weight[best] / (1 + weight[best] * (column[i] - column[j]))
        inverse = inverse - gain * np.outer(column, column)
    return chosen


def _inverse_information(weights: Floats, pairs: Indices, contestants: int) -> Floats:
    information = PRIOR * np.eye(contestants)
    for (i, j), w in zip(pairs, weights, strict=True):
        information[[i, j], [i, j]] += w
        information[[i, j], [j, i]] -= w
    return np.asarray(np.linalg.inv(information))


def _turns(taken: Mask, comparisons: int, rng: np.random.Generator) -> list[int]:
    """Return the prompts whose turn it is, those with the fewest comparisons first."""
    pairs = taken.shape[1]
    have = taken.sum(axis=1)
    turns: list[int] = []
    for _ in range(max(0, min(comparisons, taken.size) - int(have.sum()))):
        candidates = np.flatnonzero(have == have[have < pairs].min())
        prompt = int(candidates[rng.integers(len(candidates))])
        have[prompt] += 1
        turns.append(prompt)
    return turns
