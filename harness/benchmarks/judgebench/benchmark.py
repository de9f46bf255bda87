"""JudgeBench (arXiv 2410.12784): pairs of responses of which one is right, judged in both orders.

After ScalerLab/JudgeBench at e2c52c28, judge `arena_hard`: Arena-Hard v0.1's prompt with the tie,
two attempts, the only label. What differs: a call that fails is asked again, while upstream stores
it as no verdict and never asks again; equal rewards are a tie, while upstream prefers B.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.benchmarks import assets
from harness.benchmarks.arena_hard.data import fill_template, load_protocol
from harness.benchmarks.arena_hard.v01 import CONTINUE_REQUEST
from harness.benchmarks.arena_hard.verdicts import find_labels, parse_v01
from harness.benchmarks.judgebench.score import (
    CATEGORIES,
    Decision,
    Judgment,
    category,
    score_judgments,
)
from harness.core.config import Component
from harness.core.hub import assets_directory
from harness.core.io import parse_jsonl, read_csv, read_jsonl, row_problem
from harness.errors import InputError
from harness.types import (
    Comparison,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    PublishedFigure,
    Reply,
    Score,
    Verdict,
)

FOLDER = "judgebench"
PROMPT_FOLDER = "arena_hard_v0.1"
PARAMETERS: dict[str, Any] = {"temperature": 0, "max_tokens": 4096}
LABELS: dict[str, Literal["A", "B"]] = {"A>B": "A", "B>A": "B"}
EXPECTED = "rows with 'pair_id', 'source', 'question', 'response_A', 'response_B' and 'label'"
VERDICTS = "rows with 'pair_id', 'source', 'label' and two 'judgments' with a 'decision'"
COLUMNS = {"overall": "accuracy"} | {name: name for name in CATEGORIES.values()}
"""The published columns, and the metrics that they are."""
TOLERANCE = 0.005
Row = Mapping[str, Any]


class JudgeBench(Component):
    """The pairs of one model's responses; they come from `harness assets`."""

    responses: str = "gpt-4o-2024-05-13"
    """The model whose responses are compared; the other is claude-3-5-sonnet-20240620."""
    assets: Path | None = Field(None, exclude=True)
    """The directory with the protocol data; None: HARNESS_ASSETS, or the user's cache."""

    @property
    def name(self) -> str:
        """The name of the results."""
        return f"judgebench, {self.responses}"

    def rows(self) -> list[dict[str, Any]]:
        """Return the labelled pairs.

        Raises:
            AssetError: they are missing, or are not the published ones.
        """
        name = f"{FOLDER}/pairs/{self.responses}.jsonl"
        return parse_jsonl(name, assets.read(name, self._folder()), EXPECTED)

    def requests(self) -> list[JudgeRequest]:
        """Return two games a pair: A first, then B first.

        Raises:
            AssetError: the pairs, or Arena-Hard's judge prompt, are missing.
        """
        texts = load_protocol(PROMPT_FOLDER, self._folder())
        requests = []
        for row in self.rows():
            answers = (row["response_A"], row["response_B"])
            for game, shown in enumerate((answers, answers[::-1]), start=1):
                user = fill_template(texts["prompt_template"], (row["question"], *shown))
                messages = (Message("system", texts["system_prompt"]), Message("user", user))
                requests.append(JudgeRequest(f"{row['pair_id']}#{game}", messages, PARAMETERS))
        return requests

    def comparisons(self) -> list[Comparison]:
        """Return the same games for an oracle."""
        games = []
        for row in self.rows():
            prompt = Prompt(row["pair_id"], (Message("user", row["question"]),))
            game = Comparison(prompt, row["response_A"], row["response_B"])
            games += [game, game.swap()]
        return games

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the only label in all replies, as Arena-Hard v0.1."""
        return parse_v01([reply.content for reply in replies])

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask the judge once to continue if its reply has no label."""
        if len(replies) > 1 or find_labels(reply.content for reply in replies):
            return None
        turns = (Message("assistant", replies[0].content), Message("user", CONTINUE_REQUEST))
        return JudgeRequest(request.id, (*request.messages, *turns), request.parameters)

    def score_verdicts(self, verdicts: Sequence[Verdict]) -> Score:
        """Score a judge's verdicts on `requests`, in their order."""
        return self.score_preferences([v.parsed.value if v.parsed else None for v in verdicts])

    def score_preferences(self, preferences: Sequence[float | None]) -> Score:
        """Score P(first preferred) of the games, in their order; exactly ½ is a tie.

        Raises:
            CheckError: no game has a preference.
        """
        pairs = zip(preferences[::2], preferences[1::2], strict=True)
        return score_judgments(
            [
                _judgment(row, (_decision(first), _turn(_decision(second))))
                for row, (first, second) in zip(self.rows(), pairs, strict=True)
            ]
        )

    def published(self) -> Iterator[PublishedFigure]:
        """Yield the published accuracies beside those from the stored verdicts.

        Raises:
            AssetError: there are no stored verdicts.
        """
        listing = self._folder() / FOLDER / "published.csv"
        if not listing.is_file():
            raise assets.missing_verdicts(listing.parent)
        for row in read_csv(listing):
            path = listing.parent / row["file"]
            if path.is_file():
                estimates = score_file(path).estimates
                for column, metric in COLUMNS.items():
                    yield PublishedFigure(
                        f"{row['judge_model']} on {row['responses']}, {column}",
                        float(row[column]),
                        estimates[metric].value,
                        TOLERANCE,
                    )

    def _folder(self) -> Path:
        return assets_directory(self.assets)


def score_file(path: Path) -> Score:
    """Score a file of verdicts in the layout of JudgeBench's outputs.

    Raises:
        InputError: the file cannot be read, or a row does not fit.
        CheckError: no game has a verdict.
    """
    judgments: dict[str, Judgment] = {}
    rows = read_jsonl(path, VERDICTS)
    for number, row in enumerate(rows, start=1):
        problem = row_problem(row, "pair_id", "source", "label")
        games = row.get("judgments")
        if problem is None and row["label"] not in LABELS:
            problem = "whose 'label' is neither A>B nor B>A"
        if problem is None and not (isinstance(games, list) and len(games) == 2):
            problem = "without two 'judgments'"
        if problem is not None:
            raise InputError(f"{path}: row {number}, {problem}; expected {VERDICTS}")
        first, second = (_stored(game) for game in row["judgments"])
        judgments[row["pair_id"]] = _judgment(row, (first, _turn(second)))
    repeats = len(rows) - len(judgments)
    notes = [f"{repeats} pairs are repeated: the last row of each counts"] if repeats else []
    return score_judgments(list(judgments.values()), notes)


def _judgment(row: Row, decisions: tuple[Decision, Decision]) -> Judgment:
    category(row["source"])
    return Judgment(row["pair_id"], row["source"], LABELS[row["label"]], decisions)


def _decision(preference: float | None) -> Decision:
    if preference is None:
        return None
    return "tie" if preference == 0.5 else "A" if preference > 0.5 else "B"


def _turn(decision: Decision) -> Decision:
    """Return a decision of the second game by the pair's own letters."""
    return {"A": "B", "B": "A"}.get(decision or "", decision)  # type: ignore[return-value]


def _stored(game: Any) -> Decision:
    decision = game.get("decision") if isinstance(game, Mapping) else None
    return LABELS.get(decision, "tie" if decision == "A=B" else None)  # type: ignore[arg-type]
