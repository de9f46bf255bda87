"""Arena-Hard v0.1's published scores beside those that the harness makes of the same battles."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.benchmarks import text_measures
from harness.benchmarks.arena_hard_files import said_of
from harness.errors import AssetError
from harness.reading import read_lines
from harness.types import Estimate, Figure

if TYPE_CHECKING:
    from harness.benchmarks.arena_hard import ArenaHard

FOLDER = "arena_hard_v0.1"
BATTLES = f"{FOLDER}/battles"
OFFICIAL, TABLE = "official_", f"{FOLDER}/leaderboard_20240731.csv"
TOLERANCE = 0.01
ENCODING: text_measures.EncodingName = "cl100k_base"
BOUNDS = "its bounds were drawn together with all 60 models of the leaderboard"


def published(benchmark: ArenaHard, folder: Path) -> Iterator[Figure]:
    """Yield every score, and its bounds where the battles of the whole table are there."""
    paths = sorted((folder / BATTLES).glob("*.jsonl*"))
    if not paths:
        told = f"no published verdicts in {folder / BATTLES}"
        raise AssetError(f"{told}: name a folder that has them with --assets DIR")
    for path in paths:
        name = path.name.partition(".jsonl")[0]
        found = _scored(benchmark, path)
        if name.startswith(OFFICIAL):
            yield from _official(name, found, folder)
        elif (table := path.with_name(f"{name}.csv")).is_file():
            yield from _table(name, found, table)
    yield from _tokens(folder)


def _tokens(folder: Path) -> Iterator[Figure]:
    """Yield the mean lengths of the models whose answers are there."""
    for row in _rows(folder / TABLE):
        path = folder / FOLDER / "model_answer" / f"{row['model']}.jsonl"
        if path.is_file():
            texts = [said_of(path, answer)[0] for answer in read_lines(path, "answers")]
            counted = [text_measures.tokens(text, ENCODING, folder) for text in texts]
            mean = float(sum(counted) // len(counted))
            yield Figure(f"{row['model']} avg_tokens", float(row["avg_tokens"]), mean, TOLERANCE)


def _scored(benchmark: ArenaHard, path: Path) -> dict[str, Estimate]:
    scoring = benchmark.scoring.model_copy(update={"compat": "upstream", "rounds": 2})
    copied = benchmark.model_copy(update={"scoring": scoring})
    graded = benchmark.read_verdicts(path)
    scores = copied.score(graded)
    return {g.label: s.estimates["win_rate"] for g, s in zip(graded, scores, strict=True)}


def _official(name: str, found: Mapping[str, Estimate], folder: Path) -> Iterator[Figure]:
    model = name.removeprefix(OFFICIAL)
    for row in _rows(folder / TABLE):
        if row["model"] == model and model in found:
            wanted, value = float(row["score"]), found[model].value
            yield Figure(f"{model} score", wanted, value, TOLERANCE, BOUNDS)


def _table(name: str, found: Mapping[str, Estimate], table: Path) -> Iterator[Figure]:
    columns = {"score": "value", "rating_q025": "low", "rating_q975": "high"}
    for row in _rows(table):
        if row["model"] not in found:
            continue
        for column, part in columns.items():
            value = float(getattr(found[row["model"]], part))
            what = f"{name} {row['model']} {column}"
            yield Figure(what, float(row[column]), value, TOLERANCE)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
