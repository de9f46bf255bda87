"""WildBench's published figures: from verdict files where they are stored, else from its tables.

`published.csv` of the protocol data names the verdict files with their figures. The leaderboard's
tables hold the scores and the counts by group, from which its weighted means and rewards follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.benchmarks import assets
from harness.benchmarks.wildbench import data, files, reward
from harness.benchmarks.wildbench.score import upstream_figures
from harness.core.io import read_csv, read_json
from harness.types import PublishedFigure

EXACT = 0.0
ROUNDING = 1e-12
"""Sums in another order than upstream's."""
COLUMNS = ("score", "adjusted_score", "avg_len", "total")
TABLE = "a table of WildBench's leaderboard"
REFERENCES = {
    "gpt4t": "gpt-4-turbo-2024-04-09",
    "haiku": "claude-3-haiku-20240307",
    "llama": "Llama-2-70b-chat-hf",
}
"""The leaderboard's references, by the names in its tables."""
Rows = Mapping[str, Mapping[str, Any]]


def score_figures(folder: Path) -> Iterator[PublishedFigure]:
    """Yield each stored file's figures, and the rows of the table that weigh their groups alike.

    Raises:
        AssetError: there is neither.
        InputError: a file does not fit.
    """
    root = folder / data.FOLDER
    table, listing = root / "leaderboard" / "score.json", root / "published.csv"
    if not table.is_file() and not listing.is_file():
        raise assets.missing_verdicts(root)
    for row in read_csv(listing) if listing.is_file() else ():
        if (path := root / row["file"]).is_file():
            yield from _file_figures(path, row)
    if table.is_file():
        rows: Rows = read_json(table, TABLE)
        equal = sum(
            data.macro(row["task_categorized_scores"]) == row["task_macro_score"]
            for row in rows.values()
        )
        yield PublishedFigure("rows of score.json, weighted by group", len(rows), equal, EXACT)


def reward_figures(folder: Path) -> Iterator[PublishedFigure]:
    """Yield, for each table, how many rows' rewards follow from their counts; then the mixtures.

    Raises:
        AssetError: there is no table.
        InputError: a table does not fit.
    """
    root = folder / data.FOLDER / "leaderboard"
    paths = sorted(root.glob("pairwise-*-K=*.json"))
    if not paths:
        raise assets.missing_verdicts(root)
    for path in paths:
        rows: Rows = read_json(path, TABLE)
        equal = sum(map(_follows_from_counts, rows.values()))
        yield PublishedFigure(f"rows of {path.stem}, from counts", len(rows), equal, EXACT)
    yield from _mixtures(root)


def _file_figures(path: Path, row: Mapping[str, str]) -> Iterator[PublishedFigure]:
    (graded,) = files.read_ratings(path)
    ratings = {v.request_id: v.parsed.value for v in graded.verdicts if v.parsed}
    texts = {answer.prompt_id: answer.text.strip() for answer in graded.answers}
    figures = upstream_figures(ratings, texts, {})
    for column in COLUMNS:
        name = f"{row['model']} {row['version']} {column}"
        yield PublishedFigure(name, float(row[column]), figures[column], EXACT)


def _follows_from_counts(row: Mapping[str, Any]) -> bool:
    by_group = row["task_categorized_results"].items()
    rewards = {group: reward.reward(counts, sum(counts.values())) for group, counts in by_group}
    published = row["task_categorized_rewards"]
    return bool(
        reward.reward(row, row["total"]) == row["reward"]
        and rewards == published
        and data.macro(published) == row["task_macro_reward"]
    )


def _mixtures(root: Path) -> Iterator[PublishedFigure]:
    """Yield how many of the leaderboard's mixtures are the mean over all three references."""
    listing = root / "leaderboard.csv"
    tables = {
        name: read_json(path, TABLE)
        for name in REFERENCES
        if (path := root / f"pairwise-{name}-K=-1.json").is_file()
    }
    if not listing.is_file() or set(tables) != set(REFERENCES):
        return
    rows = [r for r in read_csv(listing) if all(r["model"] in table for table in tables.values())]
    equal = sum(
        abs(
            float(row["mixture_of_rewards.K=-1"])
            - reward.PERCENT
            * reward.mixture(
                {name: table[row["model"]]["reward"] for name, table in tables.items()},
                tuple(REFERENCES),
            )
        )
        <= reward.PERCENT * ROUNDING
        for row in rows
    )
    yield PublishedFigure("mixtures of three references, K=-1", len(rows), equal, EXACT)
