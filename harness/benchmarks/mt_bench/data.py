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
from harness.core.io import read_jsonl
from harness.errors import AssetError, InputError
from harness.types import Answer, Message, Prompt

FOLDER = "mt_bench"
CATEGORIES = (
    *("writing", "roleplay", "reasoning", "math"),
    *("coding", "extraction", "stem", "humanities"),
)
FIRST_NUMBER, PER_CATEGORY, TURNS = 81, 10, 2
"""The first question's number, how many there are of a category, turns of a question."""
ANSWER_COUNT = TURNS * PER_CATEGORY * len(CATEGORIES)
"""How many answers there are to judge."""
REFERENCE_CATEGORIES = frozenset({"math", "reasoning", "coding"})
"""Categories that are judged against a reference answer."""
OFFICIAL_JUDGE = "gpt-4"
"""Whose references FastChat holds."""
REFERENCES_FORMAT = "JSON lines with 'question_id' and 'choices' of two turns"


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
class ProtocolTexts:
    """The protocol's texts."""

    questions: Mapping[int, Question]
    templates: Mapping[str, Template]

    def template(self, number: int, turn: int) -> Template:
        """Return the prompt by which an answer is judged."""
        return self.templates[template_name(number, turn)]


def prompt_id(number: int, turn: int) -> str:
    """Return the name of a question's turn."""
    return f"{number}#{turn}"


def parse_prompt_id(name: str) -> tuple[int, int]:
    """Return the number and the turn of a prompt's name."""
    number, _, turn = name.partition("#")
    return int(number), int(turn)


def validate_turn(number: object, turn: object) -> tuple[int, int] | None:
    """Return a question's number and a turn as they are, where MT-Bench has such a turn."""
    if type(number) is not int or type(turn) is not int:
        return None
    is_question = FIRST_NUMBER <= number < FIRST_NUMBER + PER_CATEGORY * len(CATEGORIES)
    return (number, turn) if is_question and 1 <= turn <= TURNS else None


def category_of(number: int) -> str:
    """Return a question's category, which its number tells."""
    return CATEGORIES[(number - FIRST_NUMBER) // PER_CATEGORY]


def template_name(number: int, turn: int) -> str:
    """Return the name of the prompt by which an answer is judged."""
    kind = "single-math-v1" if category_of(number) in REFERENCE_CATEGORIES else "single-v1"
    return kind if turn == 1 else f"{kind}-multi-turn"


def turn_prompt(question: Question, answers: Sequence[Answer], meta: Mapping[str, str]) -> Prompt:
    """Return the turn that follows what was said so far."""
    messages = [Message("user", question.turns[0])]
    for answer, user_turn in zip(answers, question.turns[1:], strict=False):
        messages += [Message("assistant", answer.text), Message("user", user_turn)]
    turn = len(answers) + 1
    prompt_meta = {"category": question.category, **meta}
    return Prompt(prompt_id(question.number, turn), tuple(messages), prompt_meta)


def load_texts(folder: Path) -> ProtocolTexts:
    """Return the questions and the judge's prompts.

    Raises:
        AssetError: they are missing, or others.
    """
    paths = [assets.require(f"{FOLDER}/{name}", folder) for name in _TEXT_FILES]
    return _load_texts(*paths)


def load_references(name: str, folder: Path) -> Mapping[int, tuple[str, str]]:
    """Return reference answers by question, of a judge that is named or of a file.

    Raises:
        AssetError: there are none, or GPT-4's are not the published ones.
        InputError: the file does not fit.
    """
    return _load_references(references_path(name, folder))


def references_path(name: str, folder: Path) -> Path:
    """Return the file with a judge's references.

    Raises:
        AssetError: there is none, or GPT-4's is not the published one.
    """
    if name == OFFICIAL_JUDGE:
        return assets.require(f"{FOLDER}/reference_answer/{OFFICIAL_JUDGE}.jsonl", folder)
    judge_path = folder / FOLDER / "reference_answer" / f"{name}.jsonl"
    for path in (judge_path, Path(name)):
        if path.is_file():
            return path
    raise AssetError(
        f"no reference answers of {name!r}, against which it would judge math, reasoning and "
        f"coding: put them into {judge_path}, name a file with --set references=FILE, or take "
        f"GPT-4's with --set references={OFFICIAL_JUDGE}"
    )


_TEXT_FILES = ("question.jsonl", "judge_prompts.jsonl")


@lru_cache(maxsize=2)
def _load_texts(questions: Path, prompts: Path) -> ProtocolTexts:
    question_rows = [
        json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines()
    ]
    prompt_rows = [json.loads(line) for line in prompts.read_text(encoding="utf-8").splitlines()]
    return ProtocolTexts(
        {
            q["question_id"]: Question(q["question_id"], q["category"], tuple(q["turns"]))
            for q in question_rows
        },
        {p["name"]: Template(p["system_prompt"], p["prompt_template"]) for p in prompt_rows},
    )


@lru_cache(maxsize=2)
def _load_references(path: Path) -> dict[int, tuple[str, str]]:
    references = {}
    for row in read_jsonl(path, REFERENCES_FORMAT):
        try:
            first, second = row["choices"][0]["turns"]
            references[int(row["question_id"])] = (str(first), str(second))
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: a reference has another form ({error!r}); expected {REFERENCES_FORMAT}"
            ) from error
    return references
