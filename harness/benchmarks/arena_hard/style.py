"""What arena-hard-auto measures of an answer: tokens by tiktoken, and Markdown elements.

Arena-Hard v2.0's style control: from games and answers to the figures of every category.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from harness.core.config import Component
from harness.errors import AssetError

if TYPE_CHECKING:
    from tiktoken import Encoding


EncodingName = Literal["cl100k_base", "o200k_base"]
CACHE_VARIABLE = "TIKTOKEN_CACHE_DIR"
FENCED = re.compile("```([^`]*)```")
ELEMENTS = {
    "header": re.compile(r"^#{1,6}\s", re.MULTILINE),
    "list": re.compile(r"^\s*(?:\d+\.|[-*+])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


@dataclass(frozen=True, slots=True)
class AnswerStyle:
    """How an answer is written."""

    tokens: int
    header: int
    list: int
    bold: int


def measure_style(text: str, name: EncodingName, folder: Path) -> AnswerStyle:
    """Measure an answer; Markdown inside fenced code does not count.

    As upstream, whatever stands between two fences is removed wherever it stands in the text.

    Raises:
        AssetError: the encoding's file cannot be had.
    """
    bare = text
    for block in FENCED.findall(text):
        bare = bare.replace(block, "")
    counts = {element: len(pattern.findall(bare)) for element, pattern in ELEMENTS.items()}
    return AnswerStyle(count_tokens(text, name, folder), **counts)


def count_tokens(text: str, name: EncodingName, folder: Path) -> int:
    """Return how many tokens a text has; special tokens in it are plain text.

    Raises:
        AssetError: the encoding's file cannot be had.
    """
    return len(load_encoding(name, folder).encode(text, disallowed_special=()))


@lru_cache(maxsize=2)
def load_encoding(name: EncodingName, folder: Path) -> Encoding:
    """Return an encoding, read from the folder `tiktoken` of the protocol data where it is there.

    Raises:
        AssetError: its file is not there and cannot be fetched.
    """
    import tiktoken

    if (cache := folder / "tiktoken").is_dir():
        os.environ.setdefault(CACHE_VARIABLE, str(cache))
    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:
        raise AssetError(
            f"tiktoken's {name} cannot be had ({type(error).__name__}): connect once, or name a "
            f"folder with its cache files with {CACHE_VARIABLE}"
        ) from error


pass
from harness.benchmarks.arena_hard import battles
from harness.benchmarks.arena_hard.verdicts import ParsedGame
from harness.errors import CheckError
from harness.statistics import style_control
from harness.statistics.bootstrap import bootstrap_interval
from harness.statistics.intervals import to_percent
from harness.statistics.resampling import Floats
from harness.statistics.style_control import StyleGames
from harness.types import Estimate, Graded, Score

ENCODING: EncodingName = "o200k_base"
FEATURES = ("length", "header", "list", "bold")
NO_ANSWERS_NOTE = "no style control: the answers of both sides are needed"
UPSTREAM_ROUNDS, UPSTREAM_LEVEL = 100, (0.05, 0.95)
UPSTREAM_NOTE = (
    "made as upstream's code does, but seeded: its own figures move by about 0.1 points from run "
    "to run (0.5 with style controlled, where its optimiser stops early); bounds hold 90 %"
)
CategoryLookup = Callable[[str], str]


def add_style_controlled(
    graded: Sequence[Graded],
    parsed_games: Sequence[Sequence[ParsedGame]],
    scores: Sequence[Score],
    category: CategoryLookup,
    folder: Path,
    scoring: ArenaHardV2Scoring,
) -> list[Score]:
    """Add every category's style-controlled win rate to the scores of its contestants.

    Under `compat: upstream` the raw ones become upstream's, too.
    """
    upstream = scoring.compat == "upstream"
    updated = [upstream_raw(s, scoring) if upstream else s for s in scores]
    try:
        styles = [_styles(contestant, folder) for contestant in graded]
    except AssetError as error:
        return [replace(s, notes=(*s.notes, f"no style control: {error}")) for s in updated]
    updated = [s if known else _without_style(s) for s, known in zip(updated, styles, strict=True)]
    for name in dict.fromkeys(category(game.prompt_id) for games in parsed_games for game in games):
        category_games = [
            [g for g in games if category(g.prompt_id) == name] for games in parsed_games
        ]
        indices = [i for i, games in enumerate(category_games) if games and styles[i]]
        if indices:
            rows, prompts = _rows(
                [category_games[i] for i in indices], [styles[i] for i in indices]
            )
            for i, update in zip(
                indices, _score_updates(rows, prompts, name, scoring), strict=True
            ):
                updated[i] = update(updated[i])
    return updated


def _score_updates(
    rows: StyleGames, prompts: Sequence[str], name: str, scoring: ArenaHardV2Scoring
) -> list[Callable[[Score], Score]]:
    """Return what adds a category's figure to each contestant's score, and prompts' parts in it."""
    try:
        fitted = (
            _upstream_fit(rows, scoring.seed)
            if scoring.compat == "upstream"
            else style_control.fit_exact(rows, seed=scoring.seed, rounds=scoring.rounds)
        )
    except CheckError as error:
        note = f"no style control of {name}: {error}"
        return [lambda s: replace(s, notes=(*s.notes, note))] * rows.model_count
    level = UPSTREAM_LEVEL if scoring.compat == "upstream" else None
    weights = dict(zip(FEATURES, map(float, fitted.style), strict=True))
    contributions = fitted.contributions

    def update_for(index: int) -> Callable[[Score], Score]:
        estimate = _estimate(float(fitted.win_rate[index]), fitted.replicates, index, level)
        key = f"{name}_style_controlled_win_rate"
        by_prompt = (
            {}
            if contributions is None
            else dict(zip(prompts, 100 * contributions[:, index], strict=True))
        )
        return lambda s: replace(
            s,
            items=_with_contributions(s.items, key, by_prompt),
            estimates={**s.estimates, key: to_percent(estimate)},
            details={**s.details, f"{name}_style": weights},
        )

    return [update_for(index) for index in range(rows.model_count)]


def _with_contributions(
    items: Sequence[Mapping[str, Any]], key: str, contributions: Mapping[str, float]
) -> tuple[Mapping[str, Any], ...]:
    """Return items with what each adds to a figure, where that is a number."""
    known = {name: float(value) for name, value in contributions.items() if not np.isnan(value)}
    return tuple(
        {**item, key: known[item["prompt_id"]]} if item["prompt_id"] in known else item
        for item in items
    )


def _estimate(
    value: float, resampled: Floats | None, index: int, level: tuple[float, float] | None
) -> Estimate:
    assert resampled is not None
    if level is None:
        return bootstrap_interval(value, resampled[:, index])
    low, high = np.quantile(resampled[:, index], level)
    return Estimate(value, float(low), float(high))


def _upstream_fit(rows: StyleGames, seed: int) -> style_control.StyleControlFit:
    """Return the medians of upstream's fits on resampled rows."""
    rng = np.random.RandomState(seed)
    total = int(rows.weight.sum())
    copies = np.repeat(np.arange(len(rows.points)), rows.weight.astype(int))
    fits = []
    for _ in range(UPSTREAM_ROUNDS):
        counts = np.bincount(copies[rng.randint(0, total, total)], minlength=len(rows.points))
        fits.append(style_control.fit_truncated(rows, counts.astype(np.float64)))
    rates = np.array([fit.win_rate for fit in fits])
    full_fit = style_control.fit_truncated(rows, rows.weight)
    return style_control.StyleControlFit(np.median(rates, axis=0), full_fit.style, rates)


def upstream_raw(score: Score, scoring: ArenaHardV2Scoring) -> Score:
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
    return replace(score, estimates=estimates, notes=(*score.notes, UPSTREAM_NOTE), details=details)


def _mean_of_means(rows: Sequence[tuple[float, int]], seed: int) -> Estimate:
    pooled = battles.pool_battles([[(won / weight, weight) for won, weight in rows]])
    rng, count = np.random.RandomState(seed), len(pooled.points)
    means = [
        pooled.points[rng.choice(count, count, replace=True)].mean() for _ in range(UPSTREAM_ROUNDS)
    ]
    low, high = np.quantile(means, UPSTREAM_LEVEL)
    return to_percent(Estimate(float(np.mean(means)), float(low), float(high)))


def _styles(graded: Graded, folder: Path) -> Mapping[str, Floats]:
    """Return the differences in style by prompt, where both answers are known."""
    theirs = {answer.prompt_id: answer.text for answer in graded.baseline}
    pairs = [
        (a.prompt_id, a.text, theirs[a.prompt_id]) for a in graded.answers if a.prompt_id in theirs
    ]
    if not pairs:
        return {}
    sides = (_measure([p[side] for p in pairs], folder) for side in (1, 2))
    differences = style_control.style_differences(*sides)
    return {name: row for (name, _, _), row in zip(pairs, differences, strict=True)}


def _measure(texts: Sequence[str], folder: Path) -> Floats:
    styles = [measure_style(text, ENCODING, folder) for text in texts]
    return np.array([[s.tokens, s.header, s.list, s.bold] for s in styles], dtype=np.float64)


def _without_style(score: Score) -> Score:
    return replace(score, notes=(*score.notes, NO_ANSWERS_NOTE))


def _rows(
    games: Sequence[Sequence[ParsedGame]], styles: Sequence[Mapping[str, Floats]]
) -> tuple[StyleGames, list[str]]:
    """Lay the games of all contestants in rows; one without a known style is left out.

    Returns:
        The rows, and the prompts' names by the numbers that they have there.
    """
    flat = [
        (index, game, styles[index][game.prompt_id])
        for index, model_games in enumerate(games)
        for game in model_games
        if game.prompt_id in styles[index]
    ]
    prompts = {name: i for i, name in enumerate(dict.fromkeys(g.prompt_id for _, g, _ in flat))}
    rows = StyleGames(
        model=np.array([index for index, _, _ in flat], dtype=np.int64),
        points=np.array([game.won for _, game, _ in flat]),
        weight=np.array([float(game.weight) for _, game, _ in flat]),
        style_difference=np.array([style for _, _, style in flat]),
        prompt=np.array([prompts[game.prompt_id] for _, game, _ in flat], dtype=np.int64),
        model_count=len(games),
    )
    return rows, list(prompts)


class ArenaHardV2Scoring(Component):
    """How the figures are made of the verdicts."""

    compat: Literal["upstream"] | None = None
    seed: int = 0
    """Of the bootstraps."""
    rounds: int = Field(default=1000, ge=2)
    """Resamples of the intervals; upstream's are 100."""
