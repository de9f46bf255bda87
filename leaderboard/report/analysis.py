"""Whether a judge favours a place: what the first answer wins, and what changes under a swap.

How far two judges agree on the same answers.

Method against method: paired differences over the prompts that two of them share.

Figures by the parts of a benchmark: data sets, categories, clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from harness.statistics import paired
from harness.statistics.agreement import kappa
from harness.statistics.bootstrap import ratio_interval
from harness.statistics.intervals import (
    normal_interval,
    t_critical,
    to_percent,
    wilson_interval,
)
from harness.types import Estimate
from leaderboard.report.comparisons import PromptComparison
from leaderboard.report.results import LoadedResult
from leaderboard.significance import ROUNDS, SEED, Items, PromptScores, prompt_scores


def position_bias(comparisons: Sequence[PromptComparison]) -> dict[str, Any] | None:
    """Return shares in percent with their 95 % intervals; None where no order is known.

    `first` is what the first answers win of the games with a known order; without a bias it is 50
    where each pair is played both ways or in a drawn order. `consistent` is the share of pairs,
    played both ways, with the same winner.
    """
    games = [
        g.first_score
        for c in comparisons
        for g in c.games
        if g.first_answer and g.first_score is not None
    ]
    if not games:
        return None
    swapped = [c for c in comparisons if c.is_swapped]
    agreeing = sum(not c.is_inconsistent for c in swapped)
    consistent = wilson_share(agreeing, len(swapped)) if swapped else None
    return {"first": mean_share(games), "consistent": consistent}


def mean_share(values: Sequence[float]) -> dict[str, Any]:
    """Return the mean of shares, in percent, with a normal 95 % interval."""
    mean = normal_interval(values)
    low, high = max(0.0, mean.low or 0.0), min(1.0, 1.0 if mean.high is None else mean.high)
    return _percent(Estimate(mean.value, low, high), len(values))


def wilson_share(successes: int, count: int) -> dict[str, Any]:
    """Return a share in percent with Wilson's 95 % interval."""
    return _percent(wilson_interval(successes, count), count)


def _percent(share: Estimate, count: int) -> dict[str, Any]:
    percent = to_percent(share)
    return {"value": percent.value, "low": percent.low, "high": percent.high, "n": count}


Winners = Mapping[str, str]
"""By prompt: who wins."""


def winners_by_prompt(comparisons: Sequence[PromptComparison]) -> Winners:
    """Return who wins each prompt that could be read; ratings have no winner."""
    return {
        comparison.prompt_id: comparison.winner for comparison in comparisons if comparison.winner
    }


def rejudged_pairs(results: Sequence[LoadedResult]) -> list[tuple[int, int]]:
    """Return the pairs of results, by place, in which two judges grade the same answers."""
    return [
        (i, j)
        for (i, first), (j, second) in combinations(enumerate(results), 2)
        if first.row.benchmark == second.row.benchmark
        and first.row.judge != second.row.judge
        and first.record.get("answers")
        and first.record.get("answers_sha256") == second.record.get("answers_sha256")
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
    """Return every pair's difference, interval, Holm-corrected p and shared prompts.

    Row less column, in the metric's unit; `at` says which results the rows and columns are, `top`
    which of them are not told from the highest. None where fewer than two results have per-prompt
    values of the metric.
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
    return {"metric": metric, "at": indices, "top": top, **tests}


def _paired_tests(scores_by_result: Sequence[PromptScores]) -> dict[str, Any]:
    differences = paired.paired_differences(
        paired.PromptTotals.of(scores_by_result), seed=SEED, rounds=ROUNDS
    )
    pairs = np.triu_indices(len(scores_by_result), 1)
    degrees_of_freedom = max(1, int(differences.shared[pairs].min()) - 1)
    errors = differences.error[pairs]
    positive_errors = errors[errors > 0]
    return {
        "value": _plain_table(differences.value),
        "reach": _plain_table(differences.error * t_critical(degrees_of_freedom)),
        "p": _plain_table(paired.holm_matrix(differences)),
        "shared": [[int(n) for n in row] for row in differences.shared],
        "resolvable": paired.minimum_detectable_difference(float(np.median(positive_errors)))
        if len(positive_errors)
        else None,
    }


def _plain_table(table: Any) -> list[list[float | None]]:
    """Return a table as lists; what is not known is None."""
    return [[float(x) if x == x else None for x in row] for row in table]


PART_NAMES = {"dataset": "source", "category": "category", "cluster": "cluster"}
"""By field of an item: what its parts are called."""
MIN_PROMPTS = 5
"""Prompts without which a part has no interval."""


def breakdowns(results: Sequence[LoadedResult], metric: str) -> list[dict[str, Any]]:
    """Return one table a kind of part: the part's prompts and each result's figure in it."""
    tables = []
    for field, part_name in PART_NAMES.items():
        sizes = _sizes(results, field)
        if len(sizes) > 1:
            cells = [_cells(result.items, field, list(sizes), metric) for result in results]
            parts = [{"name": name, "n": n} for name, n in sizes.items()]
            tables.append({"by": part_name, "metric": metric, "parts": parts, "cells": cells})
    return tables


def _sizes(results: Sequence[LoadedResult], field: str) -> dict[str, int]:
    """Return how many prompts each part has at most, in the order of first sight."""
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
    known = list(prompt_scores(items, metric).values())
    if not known:
        return None
    top, bottom = ([pair[side] for pair in known] for side in (0, 1))
    if len(known) < MIN_PROMPTS:
        return {"value": sum(top) / sum(bottom), "low": None, "high": None, "n": len(known)}
    estimate = ratio_interval(top, bottom, seed=SEED, rounds=ROUNDS)
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": len(known)}
