"""Arena-Hard v2.0's style control, and the measures of an answer's style that it adjusts for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.benchmarks.arena_hard import battles
from harness.benchmarks.arena_hard.verdicts import ParsedGame, prompt_id_of
from harness.core.config import Component
from harness.core.hub import TIKTOKEN_VARIABLE, tiktoken_encoding
from harness.errors import AssetError, CheckError
from harness.statistics import style_control
from harness.statistics.bootstrap import bootstrap_interval
from harness.statistics.intervals import to_percent, widen_to_exact
from harness.statistics.resampling import Floats
from harness.statistics.style_control import StyleGames
from harness.types import Estimate, Graded, Score

EncodingName = Literal["cl100k_base", "o200k_base"]
CategoryLookup = Callable[[str], str]

FENCED = re.compile("```([^`]*)```")
ELEMENTS = {
    "header": re.compile(r"^#{1,6}\s", re.MULTILINE),
    # upstream's begins with \s*, which finds the same in a time that grows with the square of the
    # number of blank lines: only the last of them can be the item's own line
    "list": re.compile(r"^[^\S\n]*(?:\d+\.|[-*+])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}
ENCODING: EncodingName = "o200k_base"
FEATURES = ("length", "header", "list", "bold")
NO_ANSWERS_NOTE = (
    "no style control: the answers of both sides are needed, and those of {} are not there: put "
    "them into model_answer/ beside model_judgment/, or pull the protocol data"
)
UPSTREAM_ROUNDS, UPSTREAM_LEVEL = 100, (0.05, 0.95)
UPSTREAM_NOTE = (
    "computed as upstream's code does, but seeded: upstream's own figures vary by about 0.1 points "
    "between runs (0.5 with style control, where its optimiser stops early); 90 % intervals"
)


class ArenaHardV2Scoring(Component):
    """How the scores are computed from the verdicts."""

    compat: Literal["upstream"] | None = None
    """`upstream`: win rates as arena-hard-auto computes them, but seeded."""
    seed: int = 0
    """The seed of the bootstraps."""
    rounds: int = Field(default=1000, ge=2)
    """Resamples per interval; upstream uses 100."""


@dataclass(frozen=True, slots=True)
class AnswerStyle:
    """The style of an answer: its length in tokens, and counts of Markdown elements."""

    tokens: int
    header: int
    list: int
    bold: int


def measure_style(text: str, name: EncodingName, folder: Path) -> AnswerStyle:
    """Measure an answer; Markdown inside fenced code does not count.

    As upstream, text between two fences is removed wherever it occurs in the answer.

    Raises:
        AssetError: the encoding's file is not available.
    """
    bare = text
    for block in FENCED.findall(text):
        bare = bare.replace(block, "")
    counts = {element: len(pattern.findall(bare)) for element, pattern in ELEMENTS.items()}
    return AnswerStyle(count_tokens(text, name, folder), **counts)


def count_tokens(text: str, name: EncodingName, folder: Path) -> int:
    """Return the number of tokens of a text; special tokens in it count as plain text.

    Raises:
        AssetError: the encoding's file is not available.
    """
    try:
        encoding = tiktoken_encoding(name, folder)
    except (OSError, ValueError) as error:
        raise AssetError(
            f"tiktoken's {name} is not available ({type(error).__name__}): connect once, or name a "
            f"directory with its cached files with {TIKTOKEN_VARIABLE}"
        ) from error
    return len(encoding.encode(text, disallowed_special=()))


def add_style_controlled(
    graded: Sequence[Graded],
    parsed_games: Sequence[Sequence[ParsedGame]],
    scores: Sequence[Score],
    category: CategoryLookup,
    folder: Path,
    scoring: ArenaHardV2Scoring,
) -> list[Score]:
    """Add each category's style-controlled win rate to the scores of its contestants.

    Under `compat: upstream` the raw win rates become upstream's as well.
    """
    upstream = scoring.compat == "upstream"
    updated = [upstream_raw(s, scoring) if upstream else s for s in scores]
    try:
        styles = [_styles(contestant, folder) for contestant in graded]
    except AssetError as error:
        return [replace(s, notes=(*s.notes, f"no style control: {error}")) for s in updated]
    updated = [
        replace(score, notes=(*score.notes, *_coverage_note(contestant, known)))
        for score, contestant, known in zip(updated, graded, styles, strict=True)
    ]
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
    """Return functions that add a category's win rate, and its items' shares, to each score."""
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
    key = f"{name}_style_controlled_win_rate"

    def update_for(index: int) -> Callable[[Score], Score]:
        estimate = _estimate(float(fitted.win_rate[index]), fitted.replicates, index, level)
        by_prompt: dict[str, float] = {}
        if contributions is not None:
            own = contributions[:, index]
            estimate = widen_to_exact(estimate, own[~np.isnan(own)])
            by_prompt = dict(zip(prompts, 100 * own, strict=True))
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
    """Return items with their contribution to a win rate, unless it is NaN."""
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
    """Return the medians of upstream's fits to resampled rows."""
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
    """Return a score with raw win rates as upstream reports them: means of bootstrap means."""
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
    """Return style differences, shape (features,), by prompt id where both answers are known."""
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


def _coverage_note(graded: Graded, styles: Mapping[str, Floats]) -> tuple[str, ...]:
    """Say whose answers are missing for style control, or to how many prompts."""
    judged = {prompt_id_of(verdict) for verdict in graded.verdicts}
    missing = len(judged - styles.keys())
    if styles:
        note = f"style control is over {len(judged) - missing} of {len(judged)} prompts: the others"
        return (f"{note} lack an answer of one side",) if missing else ()
    names = [graded.label] * (not graded.answers) + [graded.baseline_label] * (not graded.baseline)
    return (NO_ANSWERS_NOTE.format(" and ".join(names) or "the same prompts"),)


def _rows(
    games: Sequence[Sequence[ParsedGame]], styles: Sequence[Mapping[str, Floats]]
) -> tuple[StyleGames, list[str]]:
    """Return the games of all contestants as rows, without those of unknown style.

    Returns:
        The rows, and the prompt ids in the order of the rows' prompt indices.
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
