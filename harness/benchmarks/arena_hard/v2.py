"""Arena-Hard v2.0: 500 hard and 250 creative prompts, two games each, with style control.

After lmarena/arena-hard-auto at its last commit. Each category has its own baseline, judge prompt
and table. What differs by default: the win rate is the share of points, where upstream reports the
mean of 100 unseeded bootstrap means (which varies by about 0.1 points between runs); style control
maximises the likelihood, where upstream's optimiser stops up to about one point before the maximum,
and is evaluated at the baseline's style, where upstream takes the mean over all models of the file,
which for a single model is its own style; intervals are 95 % and keep a prompt's games together.
`compat: upstream` computes the win rates as upstream does, but seeded; compare them with a
tolerance of 0.3 points, or 0.5 with style control.

A prompt with an unparsed game is dropped with both games, as upstream. A judgment that the token
limit or a filter ended is unparsed, whatever labels it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.benchmarks.arena_hard import data, files, judgments, style
from harness.benchmarks.arena_hard.judgments import Judgments
from harness.benchmarks.arena_hard.style import ArenaHardV2Scoring
from harness.benchmarks.arena_hard.v01 import counts_of, items_of, win_rate_of
from harness.benchmarks.arena_hard.verdicts import (
    LABEL_SCORES_V2,
    ParsedGame,
    parse_games,
    parse_v2,
    prompt_id_of,
)
from harness.core.config import Component
from harness.core.hub import assets_directory
from harness.core.io import sha256
from harness.errors import AssetError, CheckError
from harness.protocols import PolicySource, Sampling
from harness.statistics.bootstrap import small_sample_note
from harness.types import (
    Answer,
    Answers,
    Estimate,
    Graded,
    JudgeRequest,
    ParsedVerdict,
    Prompt,
    Reply,
    Score,
)

FOLDER = "arena_hard_v2.0"
OTHER = "other"
"""The category of questions that do not belong to this benchmark."""


class JudgeParameters(Component):
    """The judge's sampling, by default gpt-4.1's; upstream uses 1.0 and 32000 with gemini-2.5."""

    temperature: float = 0.0
    max_tokens: int = 16000


class ArenaHardV2(Component):
    """The protocol; its data comes from `harness assets`."""

    name: ClassVar[str] = "arena-hard-v2"
    baseline: ClassVar[PolicySource | None] = None
    sampling: Sampling
    default_judge: str = "gpt-4.1"
    judging: JudgeParameters = JudgeParameters()
    assets: Path | None = Field(default=None, exclude=True)
    """The directory with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    categories: tuple[str, ...] = ("hard_prompt", "creative_writing")
    """The categories to run; each has its own win rate."""
    scoring: ArenaHardV2Scoring = ArenaHardV2Scoring()

    def prompts(self) -> list[Prompt]:
        """Return the questions, with `category`, `subcategory` and the `baseline` in `meta`.

        Raises:
            AssetError: the protocol data is missing, or is not the published one.
        """
        questions = data.load_questions(FOLDER, self._folder())
        return [
            Prompt(p.id, p.messages, {**p.meta, "baseline": self._baseline_of(p)})
            for p in questions
            if p.meta["category"] in self.categories
        ]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: the benchmark has one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the sampling of all questions."""
        return self.sampling

    def baseline_answers(self) -> list[Answer]:
        """Return the published answers of each category's baseline.

        Raises:
            AssetError: the answers are missing.
        """
        return [
            Answer(p.id, data.published_answers(p.meta["baseline"], FOLDER, self._folder())[p.id])
            for p in self.prompts()
        ]

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return two games per question, the second with the answers swapped."""
        texts, questions = self._protocol(), {prompt.id: prompt for prompt in self.prompts()}
        theirs = {answer.prompt_id: answer for answer in baseline}
        parameters = {
            "temperature": self.judging.temperature,
            "max_tokens": self.judging.max_tokens,
        }
        return [
            request
            for ours in answers
            for prompt in [questions[ours.prompt_id]]
            for request in data.game_requests(
                prompt,
                ours,
                theirs[ours.prompt_id],
                texts["categories"][prompt.meta["category"]]["system_prompt"],
                texts["prompt_template"],
                parameters,
            )
        ]

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the last label of the last reply, if it is complete."""
        return parse_v2(replies[-1].content) if replies[-1].is_complete else None

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again; upstream leaves the game unparsed."""
        return request

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return each category's share of points in percent, raw and with style control.

        The style weights are fitted on all contestants together. Without the answers of both sides
        there is no style control, and a note says so.

        Raises:
            CheckError: a contestant has no prompt with two parsed games.
        """
        parsed_games = [_complete_games(contestant) for contestant in graded]
        scores = [
            self._score(contestant, contestant_games)
            for contestant, contestant_games in zip(graded, parsed_games, strict=True)
        ]
        categories = self._categories()
        return style.add_style_controlled(
            graded,
            parsed_games,
            scores,
            lambda i: categories.get(i, OTHER),
            self._folder(),
            self.scoring,
        )

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the protocol data that is available."""
        folder = self._folder() / FOLDER
        paths = [p for p in sorted(folder.rglob("*.json*")) if p.is_file()]
        return {f"{FOLDER}/{p.relative_to(folder).as_posix()}": sha256(p) for p in paths}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a `model_answer/*.jsonl`."""
        return files.read_answers(path, self.prompts())

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read judgments from a file or a directory, and the answers that style control needs.

        They are looked for as upstream lays them out, the baselines' in the protocol data as well.
        """
        contestants = judgments.read_verdicts(path, self._file_baseline, LABEL_SCORES_V2)
        return [self._with_published_baseline(contestant) for contestant in contestants]

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return answers and judgments, both in the old and the new layout, and battles."""
        try:
            texts = self._protocol()["categories"]
        except AssetError:
            return files.files(graded, {}, self._baselines(graded))
        system = {p.id: texts[p.meta["category"]]["system_prompt"] for p in graded.prompts}
        return files.files(graded, system, self._baselines(graded))

    def _folder(self) -> Path:
        return assets_directory(self.assets)

    def _protocol(self) -> dict[str, Any]:
        return data.load_protocol(FOLDER, self._folder())

    def _baseline_of(self, prompt: Prompt) -> str:
        return str(self._protocol()["categories"][prompt.meta["category"]]["baseline"])

    def _baselines(self, graded: Graded) -> dict[str, str]:
        """Return the baselines by prompt id, unless all games are against a baseline of one's own.

        A contestant's label of its baseline is that of most of its prompts.
        """
        if graded.baseline_label not in data.FILE_BASELINES.values():
            return {}
        categories = self._categories()
        names = {prompt_id_of(verdict) for verdict in graded.verdicts}
        return {
            name: data.FILE_BASELINES[categories[name]]
            for name in names
            if categories.get(name) in data.FILE_BASELINES
        }

    def _file_baseline(self, name: str, row: Mapping[str, Any]) -> str:
        """Return the baseline of a question in a file of judgments."""
        category = str(row.get("category") or self._categories().get(name))
        return data.FILE_BASELINES.get(category, "baseline")

    def _with_published_baseline(self, contestant: Judgments) -> Graded:
        """Return a contestant with the published answers of its baselines that no file has."""
        graded = contestant.graded
        known = {answer.prompt_id: answer for answer in graded.baseline}
        missing = {n: b for n, b in contestant.baselines.items() if n not in known}
        for baseline in sorted(set(missing.values()) & set(data.BASELINES.values())):
            try:
                texts = data.published_answers(baseline, FOLDER, self._folder())
            except AssetError:
                continue
            known |= {
                name: Answer(name, texts[name])
                for name, own in missing.items()
                if own == baseline and name in texts
            }
        return replace(graded, baseline=tuple(known.values()))

    def _categories(self) -> dict[str, str]:
        path = self._folder() / FOLDER / "question.jsonl"
        questions = data.questions(path) if path.is_file() else ()
        return {prompt.id: prompt.meta["category"] for prompt in questions}

    def _score(self, graded: Graded, parsed_games: Sequence[ParsedGame]) -> Score:
        items = items_of(graded, parsed_games)
        categories = self._categories()
        for item in items:
            item["category"] = categories.get(item["prompt_id"], OTHER)
        estimates: dict[str, Estimate] = {}
        for name in dict.fromkeys(item["category"] for item in items):
            category_items = [item for item in items if item["category"] == name and item["weight"]]
            if category_items:
                estimates[f"{name}_win_rate"] = win_rate_of(
                    category_items, seed=self.scoring.seed, rounds=self.scoring.rounds
                )
        if not estimates:
            raise CheckError(f"{graded.label} has no prompt with two parsed games")
        return Score(
            estimates, counts_of(graded, parsed_games, items), tuple(items), _notes(graded, items)
        )


def _complete_games(graded: Graded) -> list[ParsedGame]:
    """Return the games of the prompts without an unparsed game."""
    unparsed = {prompt_id_of(v) for v in graded.verdicts if v.parsed is None}
    return [game for game in parse_games(graded.verdicts) if game.prompt_id not in unparsed]


def _notes(graded: Graded, items: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    dropped = sum(item["weight"] == 0 for item in items)
    note = f"{dropped} of {len(items)} prompts have an unparsed game and are excluded"
    return (
        *graded.notes,
        *((note,) if dropped else ()),
        *small_sample_note(len(items) - dropped, "prompts"),
    )
