"""Arena-Hard v0.1: 500 prompts, two games each against gpt-4-0314, one verdict label per game.

After lmarena/arena-hard-auto at 4813756 (arXiv 2406.11939). What differs: a judge that cannot be
reached stops the run instead of leaving a game without a verdict; the win rate is the closed form
of upstream's Bradley-Terry fit, equal to it to the last printed digit; the interval keeps a
prompt's two games together, where upstream resamples rows independently (`--compat upstream`
replays that).

A game whose label is none of the five is dropped, and the prompt's other game is kept. If a reply
has no label, the judge is asked once to continue; it is not if labels differ. A judgment that the
token limit or a filter ended has no verdict, whatever labels it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.benchmarks import assets
from harness.benchmarks.arena_hard import battles, data, files, judgments, style
from harness.benchmarks.arena_hard.files import read_answer
from harness.benchmarks.arena_hard.verdicts import (
    ParsedGame,
    find_labels,
    parse_games,
    parse_v01,
    prompt_id_of,
)
from harness.core.config import Component
from harness.core.hub import assets_directory
from harness.core.io import read_csv, read_jsonl, sha256
from harness.errors import AssetError, CheckError
from harness.protocols import PolicySource, Sampling
from harness.statistics.bootstrap import ratio_interval, small_sample_note
from harness.statistics.intervals import SHARE, to_percent
from harness.types import (
    Answer,
    Answers,
    Estimate,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    PublishedFigure,
    Reply,
    Score,
)

FOLDER = "arena_hard_v0.1"
CONTINUE_REQUEST = "continue your judgment and finish by outputting a final verdict label"
ENCODING: style.EncodingName = "cl100k_base"
BATTLES = f"{FOLDER}/battles"
OFFICIAL_PREFIX, LEADERBOARD = "official_", f"{FOLDER}/leaderboard_20240731.csv"
TOLERANCE = 0.01
"""The difference between published and recomputed scores that counts as equal, in points."""
BOUNDS_EXPLANATION = "its bounds were drawn together with all 60 models of the leaderboard"


class ArenaHardScoring(Component):
    """How the scores are computed from the verdicts."""

    compat: Literal["upstream"] | None = None
    """`upstream`: score and bounds as published, from all contestants of a file together."""
    seed: int = 0
    """The seed of the bootstrap; upstream uses 42."""
    rounds: int = Field(default=2000, ge=2)
    """Resamples per interval; upstream uses 100."""


class ArenaHard(Component):
    """The protocol; its data comes from `harness assets`."""

    name: ClassVar[str] = "arena-hard"
    default_judge: ClassVar[str] = "gpt-4-1106-preview"
    baseline: ClassVar[PolicySource | None] = None
    sampling: Sampling
    assets: Path | None = Field(default=None, exclude=True)
    """The directory with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    against: str = "gpt-4-0314"
    """The model whose published answers are the baseline."""
    scoring: ArenaHardScoring = ArenaHardScoring()

    def prompts(self) -> list[Prompt]:
        """Return the 500 questions, with `cluster` and the `baseline`'s name in `meta`.

        Raises:
            AssetError: the protocol data is missing, or is not the published one.
        """
        questions = data.load_questions(FOLDER, self._folder())
        return [Prompt(p.id, p.messages, {**p.meta, "baseline": self.against}) for p in questions]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: the benchmark has one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the sampling of all questions."""
        return self.sampling

    def baseline_answers(self) -> list[Answer]:
        """Return the baseline's published answers."""
        texts = data.published_answers(self.against, FOLDER, self._folder())
        return [Answer(prompt.id, texts[prompt.id]) for prompt in self.prompts()]

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return two games per question, the second with the answers swapped."""
        texts, questions = self._protocol(), {prompt.id: prompt for prompt in self.prompts()}
        theirs = {answer.prompt_id: answer for answer in baseline}
        parameters = {"temperature": texts["temperature"], "max_tokens": texts["max_tokens"]}
        return [
            request
            for ours in answers
            for request in data.game_requests(
                questions[ours.prompt_id],
                ours,
                theirs[ours.prompt_id],
                texts["system_prompt"],
                texts["prompt_template"],
                parameters,
            )
        ]

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the only label in all of the judge's replies; the last must be complete."""
        texts = [reply.content for reply in replies]
        return parse_v01(texts) if replies[-1].is_complete else None

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask the judge once to continue if its reply has no label."""
        if len(replies) > 1 or find_labels(reply.content for reply in replies):
            return None
        turns = (Message("assistant", replies[0].content), Message("user", CONTINUE_REQUEST))
        return JudgeRequest(request.id, (*request.messages, *turns), request.parameters)

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return the share of points in percent; a strong verdict counts three times.

        The interval comes from a bootstrap over prompts. Unparsed games are excluded and counted.
        Under `compat: upstream` value and bounds are upstream's, with two decimals.

        Raises:
            CheckError: a contestant has no parsed game.
        """
        scores = [self._score(contestant) for contestant in graded]
        return upstream_scores(graded, scores) if self.scoring.compat == "upstream" else scores

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the questions, the baseline's answers and the judge's texts."""
        names = ("question.jsonl", "protocol.json", f"model_answer/{self.against}.jsonl")
        paths = {name: self._folder() / FOLDER / name for name in names}
        return {f"{FOLDER}/{n}": sha256(path) for n, path in paths.items() if path.is_file()}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a `model_answer/*.jsonl`."""
        return files.read_answers(path, self.prompts())

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read judgments or battles, from a file or a directory of files.

        A judgment that names no baseline was made against this protocol's, as upstream assumes.
        """
        contestants = judgments.read_verdicts(path, lambda name, row: self.against)
        return [contestant.graded for contestant in contestants]

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return answers and judgments, both in the old and the new layout, and battles."""
        try:
            system = self._protocol()["system_prompt"]
        except AssetError:
            return files.files(graded, {})
        return files.files(graded, {prompt_id_of(v): system for v in graded.verdicts})

    def published(self) -> Iterator[PublishedFigure]:
        """Yield published scores and bounds beside those recomputed from the same battles."""
        return published_figures(self, self._folder())

    def _folder(self) -> Path:
        return assets_directory(self.assets)

    def _protocol(self) -> dict[str, Any]:
        return data.load_protocol(FOLDER, self._folder())

    def _score(self, graded: Graded) -> Score:
        parsed_games = parse_games(graded.verdicts)
        items = items_of(graded, parsed_games)
        if not parsed_games:
            raise CheckError(f"no game of {graded.label} could be parsed: there is no score")
        rate = win_rate_of(items, seed=self.scoring.seed, rounds=self.scoring.rounds)
        counts, notes = counts_of(graded, parsed_games, items), notes_of(graded, parsed_games)
        if graded.answers:
            lengths = [style.count_tokens(a.text, ENCODING, self._folder()) for a in graded.answers]
            counts["avg_tokens"] = sum(lengths) // len(lengths)
        return Score({"win_rate": rate}, counts, tuple(items), notes)


def items_of(graded: Graded, parsed_games: Sequence[ParsedGame]) -> list[dict[str, Any]]:
    """Return one row per prompt: its points, their weight, its labels, and its unparsed games."""
    meta = {prompt.id: prompt.meta for prompt in graded.prompts}
    items: dict[str, dict[str, Any]] = {}
    for verdict in graded.verdicts:
        name = prompt_id_of(verdict)
        empty = {"prompt_id": name, "won": 0.0, "weight": 0, "unparsed": 0, "labels": []}
        row = items.setdefault(name, {**empty, **_category_fields(meta.get(name, {}))})
        row["unparsed"] += verdict.parsed is None
        row["labels"].append(verdict.parsed.label if verdict.parsed else None)
    for game in parsed_games:
        items[game.prompt_id]["won"] += game.weight * game.won
        items[game.prompt_id]["weight"] += game.weight
    for answer in graded.answers:
        if answer.prompt_id in items:
            items[answer.prompt_id]["length"] = len(answer.text)
    return list(items.values())


def win_rate_of(items: Sequence[Mapping[str, Any]], *, seed: int, rounds: int) -> Estimate:
    """Return the share of points in percent, with its interval over prompts."""
    won, weight = ([item[key] for item in items] for key in ("won", "weight"))
    return to_percent(ratio_interval(won, weight, seed=seed, rounds=rounds, bounds=SHARE))


def _category_fields(meta: Mapping[str, str]) -> dict[str, str]:
    return {key: meta[key] for key in ("category", "subcategory", "cluster") if key in meta}


def counts_of(
    graded: Graded, parsed_games: Sequence[ParsedGame], items: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Count prompts (asked, judged) and games (all, unparsed, won, drawn, lost)."""
    won = [game.won for game in parsed_games]
    return {
        "asked": len(graded.prompts) or len(items),
        "judged": sum(item["weight"] > 0 for item in items),
        "games": len(graded.verdicts),
        "unparsed": len(graded.verdicts) - len(parsed_games),
        "n_wins": won.count(1.0),
        "n_draws": won.count(0.5),
        "n_wins_base": won.count(0.0),
    }


def notes_of(graded: Graded, parsed_games: Sequence[ParsedGame]) -> tuple[str, ...]:
    """Return the submission's notes, and those on unparsed games and on a small sample."""
    total, parsed = len(graded.verdicts), len(parsed_games)
    unparsed = f"{total - parsed} of {total} games could not be parsed and are excluded"
    return (
        *graded.notes,
        *((unparsed,) if parsed < total else ()),
        *small_sample_note(parsed, "games"),
    )


def upstream_scores(graded: Sequence[Graded], scores: Sequence[Score]) -> list[Score]:
    """Return the scores with upstream's value and bounds.

    Both depend on all contestants together and on their order in the file.
    """
    pooled = battles.pool_battles(
        [[(g.won, g.weight) for g in parse_games(o.verdicts)] for o in graded]
    )
    low, high = battles.upstream_bounds(pooled, graded[0].baseline_label)
    values = battles.rounded_percent(battles.win_rates(pooled))
    return [
        Score(
            {"win_rate": Estimate(float(value), float(below), float(above))},
            score.counts,
            score.items,
            (*score.notes, f"upstream prints {np.round(value, 1):.1f}, rounded twice"),
            {"compat": "upstream", "rounds": battles.ROUNDS, "seed": battles.SEED},
        )
        for score, value, below, above in zip(scores, values, low, high, strict=True)
    ]


def published_figures(benchmark: ArenaHard, folder: Path) -> Iterator[PublishedFigure]:
    """Yield every score, and its bounds where the battles of its whole table are available.

    Raises:
        AssetError: there are no published battles.
    """
    paths = sorted((folder / BATTLES).glob("*.jsonl*"))
    if not paths:
        raise assets.missing_verdicts(folder / BATTLES)
    for path in paths:
        name = path.name.partition(".jsonl")[0]
        estimates = _upstream_estimates(benchmark, path)
        if name.startswith(OFFICIAL_PREFIX):
            yield from _official_figures(name, estimates, folder)
        elif (table := path.with_name(f"{name}.csv")).is_file():
            yield from _table_figures(name, estimates, table)
    yield from _token_figures(folder)


def _token_figures(folder: Path) -> Iterator[PublishedFigure]:
    """Yield the mean lengths, in tokens, of the models whose answers are available."""
    for row in _leaderboard(folder):
        path = folder / FOLDER / "model_answer" / f"{row['model']}.jsonl"
        if path.is_file():
            texts = [read_answer(path, answer)[0] for answer in read_jsonl(path, "answers")]
            counts = [style.count_tokens(text, ENCODING, folder) for text in texts]
            mean = float(sum(counts) // len(counts))
            yield PublishedFigure(
                f"{row['model']} avg_tokens", float(row["avg_tokens"]), mean, TOLERANCE
            )


def _upstream_estimates(benchmark: ArenaHard, path: Path) -> dict[str, Estimate]:
    scoring = benchmark.scoring.model_copy(update={"compat": "upstream", "rounds": 2})
    upstream = benchmark.model_copy(update={"scoring": scoring})
    graded = benchmark.read_verdicts(path)
    scores = upstream.score(graded)
    return {g.label: s.estimates["win_rate"] for g, s in zip(graded, scores, strict=True)}


def _official_figures(
    name: str, estimates: Mapping[str, Estimate], folder: Path
) -> Iterator[PublishedFigure]:
    model = name.removeprefix(OFFICIAL_PREFIX)
    for row in _leaderboard(folder):
        if row["model"] == model and model in estimates:
            published_value, value = float(row["score"]), estimates[model].value
            yield PublishedFigure(
                f"{model} score", published_value, value, TOLERANCE, BOUNDS_EXPLANATION
            )


def _table_figures(
    name: str, estimates: Mapping[str, Estimate], table: Path
) -> Iterator[PublishedFigure]:
    for row in read_csv(table):
        if row["model"] not in estimates:
            continue
        estimate = estimates[row["model"]]
        bounds = {"rating_q025": estimate.low, "rating_q975": estimate.high}
        for column, value in {"score": estimate.value, **bounds}.items():
            assert value is not None
            metric = f"{name} {row['model']} {column}"
            yield PublishedFigure(metric, float(row[column]), float(value), TOLERANCE)


def _leaderboard(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the official leaderboard, if it is available."""
    path = folder / LEADERBOARD
    return read_csv(path) if path.is_file() else []
