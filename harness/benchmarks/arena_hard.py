"""Arena-Hard v0.1: 500 prompts, two games each against gpt-4-0314, a label a game.

After lmarena/arena-hard-auto at 4813756 (arXiv 2406.11939). What differs: a judge that cannot be
reached stops the run instead of being stored as no verdict; the win rate is the closed form of the
Bradley-Terry fit that upstream makes, equal to it to the last printed digit; the interval keeps a
prompt's two games together, where upstream draws every row alone (`--compat upstream` replays it).

A game whose label is none of the five is dropped, its sibling kept. Without any label the judge is
asked once to go on; two labels that differ are not asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.benchmarks import arena_hard_data as data
from harness.benchmarks import arena_hard_files, arena_hard_published, assets, text_measures
from harness.benchmarks.arena_hard_verdicts import (
    Game,
    games,
    labels,
    prompt_of,
    read_v01,
)
from harness.config import Component
from harness.errors import AssetError, CheckError
from harness.files import sha256
from harness.protocols import PolicySource, Sampling
from harness.statistics import battles
from harness.statistics.bootstrap import ratio_interval
from harness.statistics.length_control import percent
from harness.types import (
    Answer,
    Answers,
    Estimate,
    Figure,
    Graded,
    JudgeRequest,
    Message,
    Prompt,
    Reading,
    Reply,
    Score,
)

FOLDER = "arena_hard_v0.1"
GO_ON = "continue your judgment and finish by outputting a final verdict label"
FEW = 50
ENCODING: text_measures.EncodingName = "cl100k_base"


class Scoring(Component):
    """How the figures are made of the verdicts."""

    compat: Literal["upstream"] | None = None
    """`upstream`: the published bounds, from all contestants of the file together."""
    seed: int = 0
    """Of the bootstrap; upstream's is 42."""
    rounds: int = Field(default=2000, ge=2)
    """Resamples of the interval; upstream's are 100."""


class ArenaHard(Component):
    """The protocol; its data comes from `harness assets`."""

    name: ClassVar[str] = "arena-hard"
    usual_judge: ClassVar[str] = "gpt-4-1106-preview"
    baseline: ClassVar[PolicySource | None] = None
    sampling: Sampling
    assets: Path | None = Field(default=None, exclude=True)
    """The folder with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    against: str = "gpt-4-0314"
    """Whose published answers ours are compared with."""
    scoring: Scoring = Scoring()

    def prompts(self) -> list[Prompt]:
        """Return the 500 questions, with `cluster` and the `baseline`'s name in `meta`.

        Raises:
            AssetError: the protocol data is missing, or another.
        """
        found = data.questions(assets.require(f"{FOLDER}/question.jsonl", self._folder()))
        return [Prompt(p.id, p.messages, {**p.meta, "baseline": self.against}) for p in found]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: there is one turn."""
        return []

    def sampling_of(self, prompt: Prompt) -> Sampling:
        """Return how every question is answered: greedily, 4096 tokens at most."""
        return self.sampling

    def baseline_answers(self) -> list[Answer]:
        """Return the baseline's published answers."""
        said = data.answers_of(self.against, FOLDER, self._folder())
        return [Answer(prompt.id, said[prompt.id]) for prompt in self.prompts()]

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Ask twice for every question, the second time with the answers swapped."""
        texts, asked = self._protocol(), {prompt.id: prompt for prompt in self.prompts()}
        theirs = {answer.prompt_id: answer for answer in baseline}
        fixed = {"temperature": texts["temperature"], "max_tokens": texts["max_tokens"]}
        return [
            request
            for ours in answers
            for request in data.ask(
                asked[ours.prompt_id],
                ours,
                theirs[ours.prompt_id],
                texts["system_prompt"],
                texts["prompt_template"],
                fixed,
            )
        ]

    def read(self, replies: Sequence[Reply]) -> Reading | None:
        """Read the one label in all that the judge said."""
        return read_v01([reply.content for reply in replies])

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask once to go on where there is no label at all."""
        if len(replies) > 1 or labels(reply.content for reply in replies):
            return None
        turns = (Message("assistant", replies[0].content), Message("user", GO_ON))
        return JudgeRequest(request.id, (*request.messages, *turns), request.parameters)

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return the share of points, a strong verdict counting three times, in percent.

        The interval comes from a bootstrap over prompts. Games that could not be read are left out
        and counted. Under `compat: upstream` value and bounds are upstream's, with two decimals.

        Raises:
            CheckError: a contestant has no game that could be read.
        """
        scores = [self._score(one) for one in graded]
        return upstream(graded, scores) if self.scoring.compat == "upstream" else scores

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the questions, the baseline's answers and the judge's texts."""
        names = ("question.jsonl", "protocol.json", f"model_answer/{self.against}.jsonl")
        paths = {name: self._folder() / FOLDER / name for name in names}
        return {f"{FOLDER}/{n}": sha256(path) for n, path in paths.items() if path.is_file()}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a `model_answer/*.jsonl`."""
        return arena_hard_files.read_answers(path, self.prompts())

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read judgments or battles, a file or a folder of them."""
        return arena_hard_files.read_verdicts(path)

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return answers, judgments (both in the old form and the new) and battles."""
        try:
            system = self._protocol()["system_prompt"]
        except AssetError:
            return arena_hard_files.files(graded, {})
        return arena_hard_files.files(graded, {prompt_of(v): system for v in graded.verdicts})

    def published(self) -> Iterator[Figure]:
        """Yield published scores and bounds beside those made here of the same battles."""
        return arena_hard_published.published(self, self._folder())

    def _folder(self) -> Path:
        return assets.folder(self.assets)

    def _protocol(self) -> dict[str, Any]:
        return data.protocol(assets.require(f"{FOLDER}/protocol.json", self._folder()))

    def _score(self, graded: Graded) -> Score:
        played = games(graded.verdicts)
        items = items_of(graded, played)
        won, weight = ([item[key] for item in items] for key in ("won", "weight"))
        if not played:
            raise CheckError(f"no game of {graded.label} could be read: there is no figure")
        rate = percent(
            ratio_interval(won, weight, seed=self.scoring.seed, rounds=self.scoring.rounds)
        )
        counts, notes = counts_of(graded, played, items), notes_of(graded, played)
        if graded.answers:
            lengths = [
                text_measures.tokens(a.text, ENCODING, self._folder()) for a in graded.answers
            ]
            counts["avg_tokens"] = sum(lengths) // len(lengths)
        return Score({"win_rate": rate}, counts, tuple(items), notes)


def items_of(graded: Graded, played: Sequence[Game]) -> list[dict[str, Any]]:
    """Return one row a prompt: its points, their weight, its labels, games that are unread."""
    meta = {prompt.id: prompt.meta for prompt in graded.prompts}
    found: dict[str, dict[str, Any]] = {}
    for verdict in graded.verdicts:
        name = prompt_of(verdict)
        empty = {"prompt_id": name, "won": 0.0, "weight": 0, "unread": 0, "labels": []}
        row = found.setdefault(name, {**empty, **_where(meta.get(name, {}))})
        row["unread"] += verdict.reading is None
        row["labels"].append(verdict.reading.label if verdict.reading else None)
    for game in played:
        found[game.prompt_id]["won"] += game.weight * game.won
        found[game.prompt_id]["weight"] += game.weight
    for answer in graded.answers:
        if answer.prompt_id in found:
            found[answer.prompt_id]["length"] = len(answer.text)
    return list(found.values())


def _where(meta: Mapping[str, str]) -> dict[str, str]:
    return {key: meta[key] for key in ("category", "subcategory", "cluster") if key in meta}


def counts_of(
    graded: Graded, played: Sequence[Game], items: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    """Count prompts (asked, judged) and games (games, unread, won, drawn, lost)."""
    won = [game.won for game in played]
    return {
        "asked": len(graded.prompts) or len(items),
        "judged": sum(item["weight"] > 0 for item in items),
        "games": len(graded.verdicts),
        "unread": len(graded.verdicts) - len(played),
        "n_wins": won.count(1.0),
        "n_draws": won.count(0.5),
        "n_wins_base": won.count(0.0),
    }


def notes_of(graded: Graded, played: Sequence[Game]) -> tuple[str, ...]:
    """Say which games are left out, and whether there are few."""
    notes, unread = list(graded.notes), len(graded.verdicts) - len(played)
    if unread:
        total = len(graded.verdicts)
        notes.append(f"{unread} of {total} games could not be read and are left out")
    if len(played) < FEW:
        notes.append(f"only {len(played)} games: an interval of so few says little")
    return tuple(notes)


def upstream(graded: Sequence[Graded], scores: Sequence[Score]) -> list[Score]:
    """Return the scores with the value and the bounds that upstream prints.

    They depend on all contestants together and on their order in the file.
    """
    pooled = battles.pooled([[(g.won, g.weight) for g in games(o.verdicts)] for o in graded])
    low, high = battles.upstream(pooled, graded[0].baseline_label)
    values = battles.rounded(battles.win_rates(pooled))
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
