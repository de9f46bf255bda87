"""Arena-Hard v2.0: 500 hard prompts and 250 creative ones, two games each, style controlled.

After lmarena/arena-hard-auto at its last commit. Every category has a baseline, a judge's prompt
and a table of its own. What differs by default: the win rate is the share of points, where upstream
prints the mean of 100 unseeded bootstrap means (it differs by about 0.1 points from run to run);
style is controlled by the maximum of the likelihood, where upstream's optimiser stops up to about a
point before it, and at the baseline's style, where upstream takes the mean over all models of the
file, which for a model alone is its own; intervals hold 95 % and keep a prompt's games together.
`compat: upstream` makes the figures upstream's way, seeded: to be compared with a tolerance of 0.3
points, and 0.5 with style controlled.

A prompt of which one game cannot be read is dropped whole, as upstream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.benchmarks import assets
from harness.benchmarks.arena_hard import data as data
from harness.benchmarks.arena_hard import files, style
from harness.benchmarks.arena_hard.style import ArenaHardV2Scoring
from harness.benchmarks.arena_hard.v01 import counts_of, items_of
from harness.benchmarks.arena_hard.verdicts import (
    LABEL_SCORES_V2,
    ParsedGame,
    parse_games,
    parse_v2,
    prompt_id_of,
)
from harness.core.config import Component
from harness.core.io import sha256
from harness.errors import AssetError, CheckError
from harness.protocols import PolicySource, Sampling
from harness.statistics.bootstrap import ratio_interval
from harness.statistics.intervals import to_percent
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
SMALL_SAMPLE = 50
OTHER = "other"
"""The category of questions that are not this benchmark's."""


class JudgeParameters(Component):
    """What the judge is asked with: gpt-4.1's by default; gemini-2.5 takes 1.0 and 32000."""

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
    """The folder with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    categories: tuple[str, ...] = ("hard_prompt", "creative_writing")
    """Which categories are asked; every one has a figure of its own."""
    scoring: ArenaHardV2Scoring = ArenaHardV2Scoring()

    def prompts(self) -> list[Prompt]:
        """Return the questions, with `category`, `subcategory` and the `baseline` in `meta`.

        Raises:
            AssetError: the protocol data is missing, or another.
        """
        questions = data.questions(assets.require(f"{FOLDER}/question.jsonl", self._folder()))
        return [
            Prompt(p.id, p.messages, {**p.meta, "baseline": self._baseline_of(p)})
            for p in questions
            if p.meta["category"] in self.categories
        ]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: there is one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return how every question is answered."""
        return self.sampling

    def baseline_answers(self) -> list[Answer]:
        """Return the published answers of each category's baseline."""
        return [
            Answer(p.id, data.published_answers(p.meta["baseline"], FOLDER, self._folder())[p.id])
            for p in self.prompts()
        ]

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Ask twice for every question, the second time with the answers swapped."""
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
        """Read the last label of the last reply."""
        return parse_v2(replies[-1].content)

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again; upstream leaves it unread."""
        return request

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return every category's share of points, raw and with style controlled, in percent.

        The weights of style are fitted on all contestants together. Without the answers of both
        sides there is no style to control for, and a note says so.

        Raises:
            CheckError: a contestant has no prompt of which both games could be read.
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
        """Return the sha256 of the protocol's files that are there."""
        folder = self._folder() / FOLDER
        paths = [p for p in sorted(folder.rglob("*.json*")) if p.is_file()]
        return {f"{FOLDER}/{p.relative_to(folder).as_posix()}": sha256(p) for p in paths}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a `model_answer/*.jsonl`."""
        return files.read_answers(path, self.prompts())

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read judgments, a file or a folder of them; answers in the folder are put beside them."""
        return files.read_verdicts(path, LABEL_SCORES_V2)

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return answers, judgments (both in the old form and the new) and battles."""
        try:
            texts = self._protocol()["categories"]
        except AssetError:
            return files.files(graded, {})
        system = {p.id: texts[p.meta["category"]]["system_prompt"] for p in graded.prompts}
        return files.files(graded, system)

    def _folder(self) -> Path:
        return assets.folder(self.assets)

    def _protocol(self) -> dict[str, Any]:
        return data.protocol(assets.require(f"{FOLDER}/protocol.json", self._folder()))

    def _baseline_of(self, prompt: Prompt) -> str:
        return str(self._protocol()["categories"][prompt.meta["category"]]["baseline"])

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
                estimates[f"{name}_win_rate"] = self._rate(category_items)
        if not estimates:
            raise CheckError(f"{graded.label} has no prompt of which both games could be read")
        return Score(
            estimates, counts_of(graded, parsed_games, items), tuple(items), _notes(graded, items)
        )

    def _rate(self, items: Sequence[Mapping[str, Any]]) -> Estimate:
        won, weight = ([item[key] for item in items] for key in ("won", "weight"))
        return to_percent(
            ratio_interval(won, weight, seed=self.scoring.seed, rounds=self.scoring.rounds)
        )


def _complete_games(graded: Graded) -> list[ParsedGame]:
    """Return the games of the prompts of which every game could be read."""
    unparsed = {prompt_id_of(v) for v in graded.verdicts if v.parsed is None}
    return [game for game in parse_games(graded.verdicts) if game.prompt_id not in unparsed]


def _notes(graded: Graded, items: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    notes = list(graded.notes)
    dropped = sum(item["weight"] == 0 for item in items)
    if dropped:
        note = f"{dropped} of {len(items)} prompts have a game that could not be read"
        notes.append(f"{note} and are left out")
    if len(items) - dropped < SMALL_SAMPLE:
        notes.append(f"only {len(items) - dropped} prompts: an interval of so few says little")
    return tuple(notes)
