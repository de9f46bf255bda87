"""MT-Bench: 80 questions of two turns, each answer rated from 1 to 10 by the judge alone.

After FastChat's llm_judge at 587d5cf, single-answer grading (arXiv 2306.05685). What differs: a
reply without a rating is asked again, counted and told; a rating outside 1 to 10 is none; a judge
that cannot be reached stops the run instead of being stored as a reply without a rating.

The reference answers of math, reasoning and coding are keyed by the judge: FastChat has GPT-4's,
another judge would judge against its own (`references`). Pairwise grading is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from harness.benchmarks import assets, mt_bench_files, mt_bench_published
from harness.benchmarks import mt_bench_data as data
from harness.benchmarks.mt_bench_score import Scoring, scored, valid
from harness.config import Component
from harness.errors import AssetError
from harness.files import sha256
from harness.protocols import PolicySource, Sampling
from harness.types import (
    Answer,
    Answers,
    Figure,
    Graded,
    JudgeRequest,
    Message,
    Prompt,
    Reading,
    Reply,
    Score,
)

RATING, LOOSE = (re.compile(p, re.ASCII) for p in (r"\[\[(\d+\.?\d*)\]\]", r"\[(\d+\.?\d*)\]"))


class MTBench(Component):
    """The protocol; its data comes from `harness assets`."""

    name: ClassVar[str] = "mt-bench"
    usual_judge: ClassVar[str] = "gpt-4"
    baseline: ClassVar[PolicySource | None] = None
    parameters: ClassVar[dict[str, Any]] = {"temperature": 0, "max_tokens": 2048}
    temperatures: dict[str, float]
    """By category: how an answer is sampled."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, gt=0)
    references: str = data.OFFICIAL
    """A judge whose reference answers are there, or a file with some."""
    assets: Path | None = Field(None, exclude=True)
    """The folder with the protocol data; None: HARNESS_ASSETS, or the user's cache."""
    scoring: Scoring = Scoring()

    @field_validator("temperatures")
    @classmethod
    def _whole(cls, given: dict[str, float]) -> dict[str, float]:
        if set(given) != set(data.CATEGORIES):
            raise ValueError(f"give one temperature for each of {', '.join(data.CATEGORIES)}")
        return given

    def prompts(self) -> list[Prompt]:
        """Return the first turns, with `category` and the `references` in `meta`.

        Raises:
            AssetError: the protocol data is missing, or another.
        """
        asked = data.texts(self._folder()).questions.values()
        return [data.prompt(question, (), self._meta()) for question in asked]

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return the second turns after the first; nothing after the second."""
        asked = data.texts(self._folder()).questions
        return [
            data.prompt(asked[number], (answer,), self._meta())
            for answer in answers
            for number, turn in [data.place(answer.prompt_id)]
            if turn == 1
        ]

    def sampling_of(self, prompt: Prompt) -> Sampling:
        """Return the sampling of the prompt's category."""
        temperature = self.temperatures[data.category_of(data.place(prompt.id)[0])]
        return Sampling(temperature=temperature, top_p=self.top_p, max_tokens=self.max_tokens)

    def baseline_answers(self) -> list[Answer]:
        """Return nothing: an answer is rated alone."""
        return []

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Ask for a rating of every answer; of a second turn the judge sees both.

        Raises:
            AssetError: the protocol data is missing; a question has no reference answer.
            InputError: the file with the reference answers does not fit.
        """
        said = {answer.prompt_id: answer.text for answer in answers}
        texts = data.texts(self._folder())
        return [self._request(texts, said, *data.place(name)) for name in said]

    def read(self, replies: Sequence[Reply]) -> Reading | None:
        """Read the first `[[rating]]`, else the first `[rating]`; outside 1 to 10 it is none."""
        return rating_of(replies[-1].content)

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again; FastChat leaves it unread."""
        return request

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return mean ratings: `score` of both turns, `turn_1`, `turn_2`, and by category.

        Intervals come from a bootstrap over questions. Verdicts without a rating are left out and
        counted; of several of one answer the last counts.

        Raises:
            CheckError: a contestant has no rating that could be read.
        """
        return [scored(one, self.scoring) for one in graded]

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
        return mt_bench_files.read_answers(path)

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read a `model_judgment/*_single.jsonl`, with the answers that it quotes."""
        return mt_bench_files.read_verdicts(path, self._texts(), rating_of)

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return `model_answer/*.jsonl` and `model_judgment/*_single.jsonl`."""
        try:
            requests = self.requests(graded.answers, ())
        except AssetError:
            requests = []
        asked = {request.id: request.messages[-1].content for request in requests}
        return mt_bench_files.files(graded, asked)

    def published(self) -> Iterator[Figure]:
        """Yield published scores beside those made here of the same verdicts."""
        return mt_bench_published.published(self, self._folder())

    def _folder(self) -> Path:
        return assets.folder(self.assets)

    def _meta(self) -> dict[str, str]:
        return {"references": Path(self.references).stem, "baseline": "none"}

    def _texts(self) -> data.Texts | None:
        try:
            return data.texts(self._folder())
        except AssetError:
            return None

    def _request(
        self, texts: data.Texts, said: Mapping[str, str], number: int, turn: int
    ) -> JudgeRequest:
        asked = texts.questions[number].turns
        answered = [said[data.prompt_id(number, t)] for t in range(1, turn + 1)]
        template = texts.template(number, turn)
        values = {"question": asked[0], "answer": answered[0], **self._referred(number)}
        for t, text in enumerate(answered, start=1):
            values |= {f"question_{t}": asked[t - 1], f"answer_{t}": text}
        messages = (
            Message("system", template.system),
            Message("user", template.user.format(**values)),
        )
        return JudgeRequest(data.prompt_id(number, turn), messages, self.parameters)

    def _referred(self, number: int) -> dict[str, str]:
        if data.category_of(number) not in data.REFERENCED:
            return {}
        found = data.references(self.references, self._folder())
        if number not in found:
            raise AssetError(
                f"{self.references} has no reference answer to question {number}: add it, or take "
                f"GPT-4's with --set references={data.OFFICIAL}"
            )
        return {f"ref_answer_{t}": text for t, text in enumerate(found[number], start=1)}


def rating_of(text: str) -> Reading | None:
    """Return the rating that a judgment gives."""
    found = RATING.search(text) or LOOSE.search(text)
    rating = float(found[1]) if found else 0.0
    return Reading(rating) if valid(rating) else None
