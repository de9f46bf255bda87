"""MT-Bench's protocol data: questions, the judge's prompts, reference answers by judge.

A conversation has two turns; the prompts, answers and verdicts of question 81 are `81#1`, `81#2`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.benchmarks import assets
from harness.errors import AssetError, InputError
from harness.reading import read_lines
from harness.types import Answer, Message, Prompt

FOLDER = "mt_bench"
CATEGORIES = (
    *("writing", "roleplay", "reasoning", "math"),
    *("coding", "extraction", "stem", "humanities"),
)
FIRST, EACH, TURNS = 81, 10, 2
"""The first question's number, how many there are of a category, turns of a question."""
ANSWERS = TURNS * EACH * len(CATEGORIES)
"""How many answers there are to judge."""
REFERENCED = frozenset({"math", "reasoning", "coding"})
"""Categories that are judged against a reference answer."""
OFFICIAL = "gpt-4"
"""Whose references FastChat holds."""
REFERENCES = "JSON lines with 'question_id' and 'choices' of two turns"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, turn by turn."""

    number: int
    category: str
    turns: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Template:
    """One of the judge's prompts; the user's part has places in braces."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The protocol's texts."""

    questions: Mapping[int, Question]
    templates: Mapping[str, Template]

    def template(self, number: int, turn: int) -> Template:
        """Return the prompt by which an answer is judged."""
        return self.templates[template_name(number, turn)]


def prompt_id(number: int, turn: int) -> str:
    """Return the name of a question's turn."""
    return f"{number}#{turn}"


def place(name: str) -> tuple[int, int]:
    """Return the number and the turn of a prompt's name."""
    number, _, turn = name.partition("#")
    return int(number), int(turn)


def located(number: object, turn: object) -> tuple[int, int] | None:
    """Return a question's number and a turn as they are, where MT-Bench has such a turn."""
    if type(number) is not int or type(turn) is not int:
        return None
    asked = FIRST <= number < FIRST + EACH * len(CATEGORIES)
    return (number, turn) if asked and 1 <= turn <= TURNS else None


def category_of(number: int) -> str:
    """Return a question's category, which its number tells."""
    return CATEGORIES[(number - FIRST) // EACH]


def template_name(number: int, turn: int) -> str:
    """Return the name of the prompt by which an answer is judged."""
    kind = "single-math-v1" if category_of(number) in REFERENCED else "single-v1"
    return kind if turn == 1 else f"{kind}-multi-turn"


def prompt(question: Question, said: Sequence[Answer], meta: Mapping[str, str]) -> Prompt:
    """Return the turn that follows what was said so far."""
    messages = [Message("user", question.turns[0])]
    for answer, asked in zip(said, question.turns[1:], strict=False):
        messages += [Message("assistant", answer.text), Message("user", asked)]
    turn = len(said) + 1
    kept = {"category": question.category, **meta}
    return Prompt(prompt_id(question.number, turn), tuple(messages), kept)


def texts(folder: Path) -> Texts:
    """Return the questions and the judge's prompts.

    Raises:
        AssetError: they are missing, or others.
    """
    paths = [assets.require(f"{FOLDER}/{name}", folder) for name in _NAMES]
    return _texts(*paths)


def references(name: str, folder: Path) -> Mapping[int, tuple[str, str]]:
    """Return reference answers by question, of a judge that is named or of a file.

    Raises:
        AssetError: there are none, or GPT-4's are not the published ones.
        InputError: the file does not fit.
    """
    return _references(references_path(name, folder))


def references_path(name: str, folder: Path) -> Path:
    """Return the file with a judge's references.

    Raises:
        AssetError: there is none, or GPT-4's is not the published one.
    """
    if name == OFFICIAL:
        return assets.require(f"{FOLDER}/reference_answer/{OFFICIAL}.jsonl", folder)
    of_judge = folder / FOLDER / "reference_answer" / f"{name}.jsonl"
    for path in (of_judge, Path(name)):
        if path.is_file():
            return path
    raise AssetError(
        f"no reference answers of {name!r}, against which it would judge math, reasoning and "
        f"coding: put them into {of_judge}, name a file with --set references=FILE, or take "
        f"GPT-4's with --set references={OFFICIAL}"
    )


_NAMES = ("question.jsonl", "judge_prompts.jsonl")


@lru_cache(maxsize=2)
def _texts(questions: Path, prompts: Path) -> Texts:
    asked = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines()]
    told = [json.loads(line) for line in prompts.read_text(encoding="utf-8").splitlines()]
    return Texts(
        {
            q["question_id"]: Question(q["question_id"], q["category"], tuple(q["turns"]))
            for q in asked
        },
        {p["name"]: Template(p["system_prompt"], p["prompt_template"]) for p in told},
    )


@lru_cache(maxsize=2)
def _references(path: Path) -> dict[int, tuple[str, str]]:
    found = {}
    for row in read_lines(path, REFERENCES):
        try:
            first, second = row["choices"][0]["turns"]
            found[int(row["question_id"])] = (str(first), str(second))
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: a reference has another form ({error!r}); expected {REFERENCES}"
            ) from error
    return found
