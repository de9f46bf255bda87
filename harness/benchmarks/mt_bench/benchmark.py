"""MT-Bench: 80 questions of two turns, each answer rated from 1 to 10 without a baseline.

After FastChat's llm_judge at 587d5cf, single-answer grading (arXiv 2306.05685). What differs: a
request whose reply has no rating is sent again, and the rest is counted and reported; a rating
outside 1 to 10, or of a judgment that the token limit or a filter ended, is unparsed; a judge that
cannot be reached stops the run instead of leaving an answer without a rating. Pairwise grading is
not implemented.

The reference answers of math, reasoning and coding are keyed by the judge: FastChat has GPT-4's,
and another judge needs its own (`references`).

The published scores are those in the README of jxiw/MambaInLlama (arXiv 2408.15237), whose verdicts
were published as well. They have two decimals and no intervals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from harness.benchmarks import assets
from harness.benchmarks.mt_bench import data, files
from harness.benchmarks.mt_bench.data import FOLDER
from harness.benchmarks.mt_bench.score import MTBenchScoring, is_valid_rating, score_contestant
from harness.core.config import Component
from harness.core.hub import assets_directory
from harness.core.io import sha256
from harness.errors import AssetError
from harness.protocols import PolicySource, Sampling
from harness.types import (
    Answer,
    Answers,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    PublishedFigure,
    Reply,
    Score,
)

RATING, LOOSE_RATING = (
    re.compile(p, re.ASCII) for p in (r"\[\[(\d+\.?\d*)\]\]", r"\[(\d+\.?\d*)\]")
)
PUBLISHED_VERDICTS = f"{FOLDER}/model_judgment"
PUBLISHED_SCORES = {"mamba_0_5_dpo_ep1": 7.12, "mamba_0_875_dpo_ep3": 6.37}
TOLERANCE = 0.005
ROUNDING_EXPLANATION = "published with two decimals"


class MTBench(Component):
    """The protocol; its data comes from `harness assets`."""

    name: ClassVar[str] = "mt-bench"
    default_judge: ClassVar[str] = "gpt-4"
    baseline: ClassVar[PolicySource | None] = None
    parameters: ClassVar[dict[str, Any]] = {"temperature": 0, "max_tokens": 2048}
    temperatures: dict[str, float]
    """The sampling temperature by category."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, gt=0)
    references: str = data.OFFICIAL_JUDGE
    """A judge whose reference answers are available, or a file with reference answers."""
    assets: Path | None = Field(None, exclude=True)
    """The directory with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    scoring: MTBenchScoring = MTBenchScoring()

    @field_validator("temperatures")
    @classmethod
    def _check_categories(cls, temperatures: dict[str, float]) -> dict[str, float]:
        if set(temperatures) != set(data.CATEGORIES):
            raise ValueError(f"give one temperature for each of {', '.join(data.CATEGORIES)}")
        return temperatures

    def prompts(self) -> list[Prompt]:
        """Return the first turns, with `category` and the `references` in `meta`.

        Raises:
            AssetError: the protocol data is missing, or is not the published one.
        """
        questions = data.load_texts(self._folder()).questions.values()
        return [data.turn_prompt(question, (), self._meta()) for question in questions]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return the second turns after the first turns, and nothing after the second."""
        questions = data.load_texts(self._folder()).questions
        return [
            data.turn_prompt(questions[number], (answer,), self._meta())
            for answer in answers
            for number, turn in [data.parse_prompt_id(answer.prompt_id)]
            if turn == 1
        ]

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the sampling of the prompt's category."""
        temperature = self.temperatures[data.category_of(data.parse_prompt_id(prompt.id)[0])]
        return Sampling(temperature=temperature, top_p=self.top_p, max_tokens=self.max_tokens)

    def baseline_answers(self) -> list[Answer]:
        """Return nothing: answers are rated without a baseline."""
        return []

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return a request to rate each answer; for second turns it shows both turns.

        Raises:
            AssetError: the protocol data is missing; a question has no reference answer.
            InputError: the file with the reference answers has an unexpected form.
        """
        answer_texts = {answer.prompt_id: answer.text for answer in answers}
        texts = data.load_texts(self._folder())
        return [
            self._request(texts, answer_texts, *data.parse_prompt_id(name)) for name in answer_texts
        ]

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the first `[[rating]]`, else the first `[rating]`, if it is from 1 to 10."""
        reply = replies[-1]
        return parse_rating(reply.content) if reply.is_complete else None

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again; FastChat leaves the answer without a rating."""
        return request

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return mean ratings: `score` of both turns, `turn_1`, `turn_2`, and by category.

        Intervals come from a bootstrap over questions. Verdicts without a rating are excluded and
        counted; the last of several verdicts on an answer counts.

        Raises:
            CheckError: a contestant has no parsed rating.
        """
        return [score_contestant(contestant, self.scoring) for contestant in graded]

    def sources(self) -> Mapping[str, str]:
        """Return the sha256 of the questions, the judge's prompts and the reference answers."""
        folder = self._folder()
        names = ("question.jsonl", "judge_prompts.jsonl")
        paths = {f"{data.FOLDER}/{name}": folder / data.FOLDER / name for name in names}
        with suppress(AssetError):
            paths[f"references {self.references}"] = data.references_path(self.references, folder)
        return {name: sha256(path) for name, path in paths.items() if path.is_file()}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read a `model_answer/*.jsonl`."""
        return files.read_answers(path)

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read a `model_judgment/*_single.jsonl` with the answers that it quotes."""
        return files.read_verdicts(path, self._protocol_texts(), parse_rating)

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return `model_answer/*.jsonl` and `model_judgment/*_single.jsonl`."""
        try:
            requests = self.requests(graded.answers, ())
        except AssetError:
            requests = []
        user_prompts = {request.id: request.messages[-1].content for request in requests}
        return files.files(graded, user_prompts)

    def published(self) -> Iterator[PublishedFigure]:
        """Yield published scores beside those recomputed from the same verdicts."""
        return published_figures(self, self._folder())

    def _folder(self) -> Path:
        return assets_directory(self.assets)

    def _meta(self) -> dict[str, str]:
        return {"references": Path(self.references).stem, "baseline": "none"}

    def _protocol_texts(self) -> data.ProtocolTexts | None:
        try:
            return data.load_texts(self._folder())
        except AssetError:
            return None

    def _request(
        self, texts: data.ProtocolTexts, answer_texts: Mapping[str, str], number: int, turn: int
    ) -> JudgeRequest:
        turns = texts.questions[number].turns
        answers = [answer_texts[data.prompt_id(number, t)] for t in range(1, turn + 1)]
        template = texts.template(number, turn)
        values = {"question": turns[0], "answer": answers[0], **self._reference_answers(number)}
        for t, text in enumerate(answers, start=1):
            values |= {f"question_{t}": turns[t - 1], f"answer_{t}": text}
        messages = (
            Message("system", template.system),
            Message("user", template.user.format(**values)),
        )
        return JudgeRequest(data.prompt_id(number, turn), messages, self.parameters)

    def _reference_answers(self, number: int) -> dict[str, str]:
        if data.category_of(number) not in data.REFERENCE_CATEGORIES:
            return {}
        references = data.load_references(self.references, self._folder())
        if number not in references:
            raise AssetError(
                f"{self.references} has no reference answer to question {number}: add it, or use "
                f"GPT-4's with --set references={data.OFFICIAL_JUDGE}"
            )
        return {f"ref_answer_{t}": text for t, text in enumerate(references[number], start=1)}


def parse_rating(text: str) -> ParsedVerdict | None:
    """Return the rating in a judgment; None if there is no valid one."""
    match = RATING.search(text) or LOOSE_RATING.search(text)
    rating = float(match[1]) if match else 0.0
    return ParsedVerdict(rating) if is_valid_rating(rating) else None


def published_figures(benchmark: MTBench, folder: Path) -> Iterator[PublishedFigure]:
    """Yield the published scores of the models whose verdicts are available.

    Raises:
        AssetError: there are no verdicts.
    """
    paths = sorted((folder / PUBLISHED_VERDICTS).glob("*_single.jsonl*"))
    if not paths:
        raise assets.missing_verdicts(folder / PUBLISHED_VERDICTS)
    scoring = benchmark.scoring.model_copy(update={"compat": "upstream", "rounds": 2})
    upstream = benchmark.model_copy(update={"scoring": scoring})
    for path in paths:
        graded = benchmark.read_verdicts(path)
        for contestant, score in zip(graded, upstream.score(graded), strict=True):
            if contestant.label in PUBLISHED_SCORES:
                yield PublishedFigure(
                    f"{contestant.label} score",
                    PUBLISHED_SCORES[contestant.label],
                    score.estimates["score"].value,
                    TOLERANCE,
                    ROUNDING_EXPLANATION,
                )
