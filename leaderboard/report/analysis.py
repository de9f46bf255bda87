"""Statistics of the report: position bias, agreement of judges, paired differences, breakdowns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from harness.statistics import paired, power
from harness.statistics.agreement import kappa
from harness.statistics.bootstrap import ratio_interval
from harness.statistics.intervals import (
    PERCENT,
    normal_interval,
    t_critical,
    to_percent,
    widen_to_exact,
    wilson_interval,
)
from harness.types import Estimate
from leaderboard.columns import RATINGS
from leaderboard.report.comparisons import PromptComparison
from leaderboard.report.results import LoadedResult
from leaderboard.significance import ROUNDS, SEED, Items, PromptScores, prompt_scores
from leaderboard.table import estimate_data

PART_NAMES = {"dataset": "source", "category": "category", "cluster": "cluster"}
"""By field of an item: what its parts are called."""
MIN_PROMPTS = 5
"""A part with fewer prompts has no interval."""

Winners = Mapping[str, str]
"""By prompt: `win`, `tie` or `loss` of the contestant."""


def position_bias(comparisons: Sequence[PromptComparison]) -> dict[str, Any] | None:
    """Return shares in percent with their 95 % intervals; None where no order is known.

    `first` is what the first answers win of the games with a known order; without a bias it is 50
    where each pair is played in both orders or in a random one. `consistent` is the share of pairs,
    played in both orders, with the same winner.
    """
    games = [
        game.first_score
        for comparison in comparisons
        for game in comparison.games
        if game.first_answer and game.first_score is not None
    ]
    if not games:
        return None
    swapped = [comparison for comparison in comparisons if comparison.is_swapped]
    agreeing = sum(not comparison.is_inconsistent for comparison in swapped)
    consistent = wilson_share(agreeing, len(swapped)) if swapped else None
    return {"first": mean_share(games), "consistent": consistent}


def mean_share(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean of shares, in percent, with a 95 % interval."""
    mean = widen_to_exact(normal_interval(values), np.asarray(values, dtype=np.float64))
    low, high = max(0.0, mean.low or 0.0), min(1.0, 1.0 if mean.high is None else mean.high)
    return _percent(Estimate(mean.value, low, high), len(values))


def wilson_share(successes: int, count: int) -> dict[str, Any]:
    """Return a share in percent with Wilson's 95 % interval."""
    return _percent(wilson_interval(successes, count), count)


def _percent(share: Estimate, count: int) -> dict[str, Any]:
    return {**estimate_data(to_percent(share)), "n": count}


def winners_by_prompt(comparisons: Sequence[PromptComparison]) -> Winners:
    """Return the winner of each prompt with a parsed verdict; ratings have no winner."""
    return {
        comparison.prompt_id: comparison.winner for comparison in comparisons if comparison.winner
    }


def rejudged_pairs(results: Sequence[LoadedResult]) -> list[tuple[int, int]]:
    """Return the pairs of results, by index, in which two judges grade the same answers."""
    return [
        (i, j)
        for (i, first), (j, second) in combinations(enumerate(results), 2)
        if first.row.benchmark == second.row.benchmark
        and first.row.judge != second.row.judge
        and first.result.answers
        and first.result.answers_sha256 == second.result.answers_sha256
    ]


def judge_agreement(first: Winners, second: Winners) -> dict[str, Any] | None:
    """Return how often two judges name the same winner, and Cohen's kappa; None: none shared."""
    shared = [(first[key], second[key]) for key in first if key in second]
    if not shared:
        return None
    agreeing = sum(a == b for a, b in shared)
    return {"same": wilson_share(agreeing, len(shared)), "kappa": kappa(*zip(*shared, strict=True))}


def disagreements(first: Winners, second: Winners) -> set[str]:
    """Return the prompts on which two judges name different winners."""
    return {key for key in first if key in second and first[key] != second[key]}


def compare_pairs(results: Sequence[LoadedResult], metric: str) -> dict[str, Any] | None:
    """Return every pair's difference, half width of its interval, adjusted p and shared prompts.

    Row minus column, in the metric's unit. `indices` are the results in the rows and columns, `top`
    those that are not significantly different from the best. None where fewer than two results
    have per-prompt values of the metric.
    """
    scored = [(index, prompt_scores(result.items, metric)) for index, result in enumerate(results)]
    scored = [
        (index, scores)
        for index, scores in scored
        if scores and metric in results[index].row.estimates
    ]
    if len(scored) < 2:
        return None
    indices = [index for index, _ in scored]
    best = max(range(len(indices)), key=lambda i: results[indices[i]].row.estimates[metric].value)
    tests = _paired_tests([scores for _, scores in scored])
    top = [
        index
        for index, p in zip(indices, tests["p"][best], strict=True)
        if p > paired.FAMILYWISE_ERROR
    ]
    return {"metric": metric, "indices": indices, "top": top, **tests}


def _paired_tests(scores_by_result: Sequence[PromptScores]) -> dict[str, Any]:
    differences = paired.paired_differences(
        paired.PromptTotals.of(scores_by_result), seed=SEED, rounds=ROUNDS
    )
    pairs = np.triu(np.ones_like(differences.error, dtype=bool), 1)
    return {
        "value": _plain_table(differences.value),
        "half_width": _plain_table(differences.error * t_critical(differences.degrees_of_freedom)),
        "p": _plain_table(paired.holm_matrix(differences)),
        "shared": [[int(n) for n in row] for row in differences.shared],
        "minimum_detectable": power.median_detectable(differences, pairs),
    }


def _plain_table(table: Any) -> list[list[float | None]]:
    """Return a table as lists, NaN as None."""
    return [[float(x) if x == x else None for x in row] for row in table]


def breakdowns(results: Sequence[LoadedResult], metric: str) -> list[dict[str, Any]]:
    """Return a table for each kind of part: data sets, categories, clusters.

    Each holds the parts with their numbers of prompts, and every result's figure in each part.
    """
    tables = []
    for field, part_name in PART_NAMES.items():
        sizes = _sizes(results, field)
        if len(sizes) > 1:
            cells = [_cells(result.items, field, list(sizes), metric) for result in results]
            parts = [{"name": name, "n": n} for name, n in sizes.items()]
            tables.append({"by": part_name, "metric": metric, "parts": parts, "cells": cells})
    return tables


def _sizes(results: Sequence[LoadedResult], field: str) -> dict[str, int]:
    """Return each part's largest number of prompts, in the order of first appearance."""
    sizes: Counter[str] = Counter()
    for result in results:
        prompts = {_prompt_key(item): item[field] for item in result.items if item.get(field)}
        for name, count in Counter(prompts.values()).items():
            sizes[name] = max(sizes[name], count)
    return dict(sizes)


def _prompt_key(item: Mapping[str, Any]) -> str:
    return str(item.get("question", item["prompt_id"]))


def _cells(
    items: Items, field: str, names: Sequence[str], metric: str
) -> list[dict[str, Any] | None]:
    parts: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    for item in items:
        if item.get(field) in parts:
            parts[item[field]].append(item)
    return [_part_figure(members, metric) for members in parts.values()]


def _part_figure(items: Items, metric: str) -> dict[str, Any] | None:
    scores = list(prompt_scores(items, metric).values())
    if not scores:
        return None
    points, weights = ([pair[side] for pair in scores] for side in (0, 1))
    if len(scores) < MIN_PROMPTS:
        return {"value": sum(points) / sum(weights), "low": None, "high": None, "n": len(scores)}
    bounds = None if metric in RATINGS else PERCENT
    estimate = ratio_interval(points, weights, seed=SEED, rounds=ROUNDS, bounds=bounds)
    return {**estimate_data(estimate), "n": len(scores)}
