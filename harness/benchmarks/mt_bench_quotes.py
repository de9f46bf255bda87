"""The answers that stand in a verdicts file: FastChat keeps what the judge was asked.

An answer is what lies between the words of the protocol's prompt and of the question. Of two that
were judged for one turn the last is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.benchmarks import mt_bench_data as data
from harness.types import Answer, Prompt

PLACE = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Quoted:
    """What was found in the rows of one contestant."""

    answers: tuple[Answer, ...]
    prompts: tuple[Prompt, ...]
    """What the answers answer."""
    foreign: int
    """Rows whose judge was asked with another prompt than the protocol's."""


def quoted(rows: Sequence[Mapping[str, Any]], texts: data.Texts) -> Quoted:
    """Return the answers that the judge was shown; rows name a question and a turn that exist."""
    judged: dict[str, Answer] = {}
    shown: dict[str, Answer] = {}
    foreign = 0
    for row in rows:
        number, turn, asked = row["question_id"], row["turn"], row.get("user_prompt") or ""
        match = _pattern(texts, number, turn).fullmatch(str(asked))
        if match is None:
            foreign += asked != ""
            continue
        for t in range(1, turn + 1):
            name = data.prompt_id(number, t)
            text = match["answer" if turn == 1 else f"answer_{t}"]
            (judged if t == turn else shown)[name] = Answer(name, text)
    answers = ordered({**shown, **judged}.values())
    return Quoted(answers, _prompts(answers, texts), foreign)


def ordered(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Return answers as they are given: all first turns, then all second ones."""
    return tuple(sorted(answers, key=lambda answer: data.place(answer.prompt_id)[::-1]))


def _pattern(texts: data.Texts, number: int, turn: int) -> re.Pattern[str]:
    """Return what the judge's prompt looks like for any answers and any references."""
    first, second = texts.questions[number].turns
    known = {"question": first, "question_1": first, "question_2": second}
    words = PLACE.split(texts.template(number, turn).user)
    words[::2] = map(re.escape, words[::2])
    words[1::2] = [
        re.escape(known[name]) if name in known else f"(?P<{name}>.*?)" for name in words[1::2]
    ]
    return re.compile("".join(words), re.DOTALL)


def _prompts(answers: Sequence[Answer], texts: data.Texts) -> tuple[Prompt, ...]:
    said = {answer.prompt_id: answer for answer in answers}
    found = []
    for answer in answers:
        number, turn = data.place(answer.prompt_id)
        before = [said[data.prompt_id(number, t)] for t in range(1, turn)]
        found.append(data.prompt(texts.questions[number], before, {"baseline": "none"}))
    return tuple(found)
