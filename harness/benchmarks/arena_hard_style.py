"""Arena-Hard v2.0's style control: from games and answers to the figures of every category."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.benchmarks import text_measures
from harness.benchmarks.arena_hard_verdicts import Game
from harness.errors import AssetError, CheckError
from harness.statistics import battles, style_control
from harness.statistics.bootstrap import spread
from harness.statistics.length_control import percent
from harness.statistics.resampling import Floats
from harness.statistics.style_control import Rows
from harness.types import Estimate, Graded, Score

if TYPE_CHECKING:
    from harness.benchmarks.arena_hard_v2 import Scoring

ENCODING: text_measures.EncodingName = "o200k_base"
FEATURES = ("length", "header", "list", "bold")
UNKNOWN = "no style control: the answers of both sides are needed"
UPSTREAM_ROUNDS, UPSTREAM_LEVEL = 100, (0.05, 0.95)
TOLERANCE = (
    "made as upstream's code does, but seeded: its own figures move by about 0.1 points from run "
    "to run (0.5 with style controlled, where its optimiser stops early); bounds hold 90 %"
)
Categories = Callable[[str], str]


def controlled(
    graded: Sequence[Graded],
    played: Sequence[Sequence[Game]],
    scores: Sequence[Score],
    category: Categories,
    folder: Path,
    scoring: Scoring,
) -> list[Score]:
    """Add every category's style-controlled win rate to the scores of its contestants.

    Under `compat: upstream` the raw ones become upstream's, too.
    """
    upstream = scoring.compat == "upstream"
    found = [upstream_raw(s, scoring) if upstream else s for s in scores]
    try:
        styles = [_styles(one, folder) for one in graded]
    except AssetError as error:
        return [replace(s, notes=(*s.notes, f"no style control: {error}")) for s in found]
    found = [s if known else _without(s) for s, known in zip(found, styles, strict=True)]
    for name in dict.fromkeys(category(game.prompt_id) for games in played for game in games):
        own = [[g for g in games if category(g.prompt_id) == name] for games in played]
        at = [i for i, games in enumerate(own) if games and styles[i]]
        if at:
            rows, prompts = _rows([own[i] for i in at], [styles[i] for i in at])
            for i, told in zip(at, _figures(rows, prompts, name, scoring), strict=True):
                found[i] = told(found[i])
    return found


def _figures(
    rows: Rows, prompts: Sequence[str], name: str, scoring: Scoring
) -> list[Callable[[Score], Score]]:
    """Return what adds a category's figure to each contestant's score, and prompts' parts in it."""
    try:
        fitted = (
            _upstream(rows, scoring.seed)
            if scoring.compat == "upstream"
            else style_control.exact(rows, seed=scoring.seed, rounds=scoring.rounds)
        )
    except CheckError as error:
        told = f"no style control of {name}: {error}"
        return [lambda s: replace(s, notes=(*s.notes, told))] * rows.models
    level = UPSTREAM_LEVEL if scoring.compat == "upstream" else None
    weights = dict(zip(FEATURES, map(float, fitted.style), strict=True))
    parts = fitted.contributions

    def adding(place: int) -> Callable[[Score], Score]:
        estimate = _estimate(float(fitted.win_rate[place]), fitted.resampled, place, level)
        key = f"{name}_style_controlled_win_rate"
        told = {} if parts is None else dict(zip(prompts, 100 * parts[:, place], strict=True))
        return lambda s: replace(
            s,
            items=_with(s.items, key, told),
            estimates={**s.estimates, key: percent(estimate)},
            details={**s.details, f"{name}_style": weights},
        )

    return [adding(place) for place in range(rows.models)]


def _with(
    items: Sequence[Mapping[str, Any]], key: str, told: Mapping[str, float]
) -> tuple[Mapping[str, Any], ...]:
    """Return items with what each adds to a figure, where that is a number."""
    known = {name: float(part) for name, part in told.items() if not np.isnan(part)}
    return tuple(
        {**item, key: known[item["prompt_id"]]} if item["prompt_id"] in known else item
        for item in items
    )


def _estimate(
    value: float, resampled: Floats | None, place: int, level: tuple[float, float] | None
) -> Estimate:
    assert resampled is not None
    if level is None:
        return spread(value, resampled[:, place])
    low, high = np.quantile(resampled[:, place], level)
    return Estimate(value, float(low), float(high))


def _upstream(rows: Rows, seed: int) -> style_control.Controlled:
    """Return the medians of upstream's fits on resampled rows."""
    drawn = np.random.RandomState(seed)
    total = int(rows.weight.sum())
    copies = np.repeat(np.arange(len(rows.won)), rows.weight.astype(int))
    fits = []
    for _ in range(UPSTREAM_ROUNDS):
        chosen = np.bincount(copies[drawn.randint(0, total, total)], minlength=len(rows.won))
        fits.append(style_control.truncated(rows, chosen.astype(np.float64)))
    rates = np.array([fit.win_rate for fit in fits])
    whole = style_control.truncated(rows, rows.weight)
    return style_control.Controlled(np.median(rates, axis=0), whole.style, rates)


def upstream_raw(score: Score, scoring: Scoring) -> Score:
    """Return a score with raw win rates as upstream prints them: means of bootstrap means."""
    estimates = {}
    for name in score.estimates:
        category = name.removesuffix("_win_rate")
        rows = [
            (item["won"], item["weight"])
            for item in score.items
            if item["category"] == category and item["weight"]
        ]
        estimates[name] = _mean_of_means(rows, scoring.seed)
    details = {**score.details, "compat": "upstream"}
    return replace(score, estimates=estimates, notes=(*score.notes, TOLERANCE), details=details)


def _mean_of_means(rows: Sequence[tuple[float, int]], seed: int) -> Estimate:
    pooled = battles.pooled([[(won / weight, weight) for won, weight in rows]])
    drawn, count = np.random.RandomState(seed), len(pooled.won)
    means = [
        pooled.won[drawn.choice(count, count, replace=True)].mean() for _ in range(UPSTREAM_ROUNDS)
    ]
    low, high = np.quantile(means, UPSTREAM_LEVEL)
    return percent(Estimate(float(np.mean(means)), float(low), float(high)))


def _styles(graded: Graded, folder: Path) -> Mapping[str, Floats]:
    """Return the differences in style by prompt, where both answers are known."""
    theirs = {answer.prompt_id: answer.text for answer in graded.baseline}
    pairs = [
        (a.prompt_id, a.text, theirs[a.prompt_id]) for a in graded.answers if a.prompt_id in theirs
    ]
    if not pairs:
        return {}
    sides = (_measured([p[side] for p in pairs], folder) for side in (1, 2))
    apart = style_control.differences(*sides)
    return {name: row for (name, _, _), row in zip(pairs, apart, strict=True)}


def _measured(texts: Sequence[str], folder: Path) -> Floats:
    found = [text_measures.style(text, ENCODING, folder) for text in texts]
    return np.array([[s.tokens, s.header, s.list, s.bold] for s in found], dtype=np.float64)


def _without(score: Score) -> Score:
    return replace(score, notes=(*score.notes, UNKNOWN))


def _rows(
    games: Sequence[Sequence[Game]], styles: Sequence[Mapping[str, Floats]]
) -> tuple[Rows, list[str]]:
    """Lay the games of all contestants in rows; one without a known style is left out.

    Returns:
        The rows, and the prompts' names by the numbers that they have there.
    """
    flat = [
        (place, game, styles[place][game.prompt_id])
        for place, own in enumerate(games)
        for game in own
        if game.prompt_id in styles[place]
    ]
    prompts = {name: i for i, name in enumerate(dict.fromkeys(g.prompt_id for _, g, _ in flat))}
    rows = Rows(
        model=np.array([place for place, _, _ in flat], dtype=np.int64),
        won=np.array([game.won for _, game, _ in flat]),
        weight=np.array([float(game.weight) for _, game, _ in flat]),
        apart=np.array([style for _, _, style in flat]),
        prompt=np.array([prompts[game.prompt_id] for _, game, _ in flat], dtype=np.int64),
        models=len(games),
    )
    return rows, list(prompts)
