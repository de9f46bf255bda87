"""Two benchmarks on held-out instructions of the toy world, against a baseline policy's answers.

`ToyWeighted` parses a preference from log-probabilities, one game per prompt in a drawn order, as
AlpacaEval does. `ToyLabels` parses a verdict label, two games per prompt, a strong verdict counting
three times, as Arena-Hard does. Equal answers are a draw and are not judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.benchmarks.alpaca_eval import files
from harness.benchmarks.arena_hard.verdicts import GAME_SUFFIXES, LABEL_SCORES, parse_label
from harness.core.config import Component
from harness.core.label_tokens import read_labels
from harness.errors import InputError
from harness.protocols import PolicySource, Sampling
from harness.statistics import length_control
from harness.statistics.bootstrap import interval, ratio_interval
from harness.statistics.intervals import SHARE, to_percent
from harness.statistics.length_control import fit_length_control
from harness.toy import judge, world
from harness.types import (
    Answer,
    Answers,
    Graded,
    JudgeRequest,
    Message,
    ParsedVerdict,
    Prompt,
    Reply,
    Score,
)

ParsedById = Mapping[str, ParsedVerdict | None]
"""Parsed verdicts by request id; None for an unparsed one."""

VERDICT = re.compile(r"\[\[([AB]>{1,2}[AB]|A=B)\]\]")


class ToyBenchmark(Component):
    """The shared part: held-out instructions, one turn, a policy as the baseline."""

    default_judge: ClassVar[str] = "toy"
    count: int = Field(gt=1)
    offset: int = Field(0, ge=0)
    """The index of the first instruction; earlier ones may be used to choose settings."""
    baseline: PolicySource
    sampling: Sampling
    seed: int = 0

    def prompts(self) -> list[Prompt]:
        """Return held-out instructions."""
        return held_out(self.offset, self.count)

    def next_prompts(self, prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[Prompt]:
        """Return nothing: the benchmark has one turn."""
        return []

    def sampling_for(self, prompt: Prompt) -> Sampling:
        """Return the sampling of all instructions."""
        return self.sampling

    def baseline_answers(self) -> list[Answer] | None:
        """Return None: the baseline policy answers."""
        return None

    def follow_up(self, request: JudgeRequest, replies: Sequence[Reply]) -> JudgeRequest | None:
        """Ask again."""
        return request

    def sources(self) -> Mapping[str, str]:
        """Return nothing: all data is in the package."""
        return {}

    def read_answers(self, path: Path) -> list[Answers]:
        """Read answers in alpaca_eval's format."""
        return files.read_answers(path, self.prompts())


class ToyWeighted(ToyBenchmark):
    """One game per prompt; the judge's weighted choice between `m` and `M`."""

    name: ClassVar[str] = "toy-weighted"
    parameters: ClassVar[dict[str, object]] = {
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": 5,
    }

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return a game per prompt whose answers differ, in an order drawn from the prompt."""
        requests = []
        for ours, theirs in zip(answers, baseline, strict=True):
            first = files.is_ours_first(ours.prompt_id)
            slots = (ours, theirs) if first else (theirs, ours)
            requests += comparison_requests(
                judge.WEIGHTED, ours.prompt_id, "", slots, self.parameters
            )
        return requests

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return P(first slot preferred) from the log-probabilities of `m` and `M`."""
        logprobs = replies[-1].top_logprobs
        read = read_labels(logprobs[0], ("m", "M")) if logprobs else None
        return ParsedVerdict(read.share("m"), mass=read.mass) if read else None

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return the win rate, raw and length-controlled, with bootstrap intervals."""
        return [self._score(contestant) for contestant in graded]

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Read verdicts in alpaca_eval's format."""
        contestants = files.read_verdicts(path)
        return [files.rename_prompts(graded, prompt_text) for graded in contestants]

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return answers and verdicts in alpaca_eval's formats."""
        return files.files(graded)

    def _score(self, graded: Graded) -> Score:
        preferred = files.preferences(graded)
        items = [
            {**_common_fields(ours, theirs), "preference": preferred[ours.prompt_id]}
            for ours, theirs in zip(graded.answers, graded.baseline, strict=True)
        ]
        judged = [item for item in items if item["preference"] is not None]
        preferences = [item["preference"] for item in judged]
        lengths = [[item[side] for item in judged] for side in ("length", "baseline_length")]
        for item, contribution in zip(
            judged, length_control.prompt_contributions(preferences, *lengths), strict=True
        ):
            item["length_controlled_win_rate"] = 100 * contribution
        estimates = {
            "win_rate": to_percent(interval(preferences, seed=self.seed, bounds=SHARE)),
            "length_controlled_win_rate": fit_length_control(preferences, *lengths, seed=self.seed),
        }
        counts = {"asked": len(items), "judged": len(judged), "unparsed": len(items) - len(judged)}
        return Score(estimates, counts, tuple(items), graded.notes)


class ToyLabels(ToyBenchmark):
    """Two games per prompt, the second with the answers swapped; the judge's verdict label."""

    name: ClassVar[str] = "toy-labels"
    parameters: ClassVar[dict[str, object]] = {"max_tokens": 64, "temperature": 0.0}

    def requests(self, answers: Sequence[Answer], baseline: Sequence[Answer]) -> list[JudgeRequest]:
        """Return two games per prompt whose answers differ."""
        requests = []
        for ours, theirs in zip(answers, baseline, strict=True):
            for game, slots in zip(GAME_SUFFIXES, ((theirs, ours), (ours, theirs)), strict=True):
                requests += comparison_requests(
                    judge.LABELS, ours.prompt_id, game, slots, self.parameters
                )
        return requests

    def parse(self, replies: Sequence[Reply]) -> ParsedVerdict | None:
        """Return the points of the first slot by the last verdict label."""
        labels = VERDICT.findall(replies[-1].content) if replies[-1].is_complete else []
        return parse_label(labels[-1] if labels else None, LABEL_SCORES)

    def score(self, graded: Sequence[Graded]) -> list[Score]:
        """Return the share of weighted games won; the interval keeps a prompt's games together."""
        return [self._score(contestant) for contestant in graded]

    def read_verdicts(self, path: Path) -> list[Graded]:
        """Refuse: no other tool writes verdicts of this benchmark.

        Raises:
            InputError: always.
        """
        raise InputError(f"{path}: {self.name} has no format for verdicts; name toy-weighted")

    def files(self, graded: Graded) -> Mapping[str, str]:
        """Return the answers in alpaca_eval's format."""
        return files.answers_file(graded)

    def _score(self, graded: Graded) -> Score:
        parsed_by_id = {v.request_id: v.parsed for v in graded.verdicts}
        pairs = zip(graded.answers, graded.baseline, strict=True)
        items = [_label_item(ours, theirs, parsed_by_id) for ours, theirs in pairs]
        won, weight = ([float(item[key]) for item in items] for key in ("won", "weight"))
        counts = {
            "asked": len(items),
            "judged": sum(item["unparsed"] == 0 for item in items),
            "unparsed": sum(int(item["unparsed"]) for item in items),
        }
        estimate = to_percent(ratio_interval(won, weight, seed=self.seed, bounds=SHARE))
        return Score({"win_rate": estimate}, counts, tuple(items), graded.notes)


def prompt_text(prompt: Prompt) -> str:
    """Return a prompt's id in the toy world: its text."""
    return prompt.text


def held_out(offset: int, count: int) -> list[Prompt]:
    """Return `count` held-out instructions from `offset` on, as prompts."""
    texts = world.held_out_instructions()[offset : offset + count]
    return [Prompt(id=text, messages=(Message("user", text),)) for text in texts]


def comparison_requests(
    task: str,
    prompt_id: str,
    game: str,
    slots: tuple[Answer, Answer],
    parameters: Mapping[str, object],
) -> list[JudgeRequest]:
    """Return the game between two answers, or nothing if they are equal."""
    first, second = (answer.text for answer in slots)
    if first == second:
        return []
    messages = judge.question(task, prompt_id, first, second)
    return [JudgeRequest(prompt_id + game, messages, parameters)]


def _label_item(ours: Answer, theirs: Answer, parsed_by_id: ParsedById) -> dict[str, Any]:
    if ours.text == theirs.text:
        return {**_common_fields(ours, theirs), "won": 1.0, "weight": 2, "unparsed": 0}
    first, second = (parsed_by_id.get(ours.prompt_id + game) for game in GAME_SUFFIXES)
    won = weight = 0.0
    for parsed, is_swapped in ((first, True), (second, False)):
        if parsed is not None:
            value, label_weight = LABEL_SCORES[parsed.label]
            won += label_weight * (1 - value if is_swapped else value)
            weight += label_weight
    unparsed = (first is None) + (second is None)
    return {**_common_fields(ours, theirs), "won": won, "weight": weight, "unparsed": unparsed}


def _common_fields(ours: Answer, theirs: Answer) -> dict[str, Any]:
    lengths = {"length": len(ours.text), "baseline_length": len(theirs.text)}
    return {"prompt_id": ours.prompt_id, **lengths}
