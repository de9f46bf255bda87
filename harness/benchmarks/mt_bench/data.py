"""MT-Bench's protocol data: questions, the judge's prompts, reference answers by judge.

A conversation has two turns; the prompts, answers and verdicts of question 81 have the ids `81#1`
and `81#2`.
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
"""The first question's number, the questions per category, and the turns per question."""
ANSWER_COUNT = TURNS * PER_CATEGORY * len(CATEGORIES)
"""The number of answers to judge."""
REFERENCE_CATEGORIES = frozenset({"math", "reasoning", "coding"})
"""Categories that are judged against a reference answer."""
OFFICIAL_JUDGE = "gpt-4"
"""The judge whose reference answers FastChat ships."""
TEXT_FILES = ("question.jsonl", "judge_prompts.jsonl")
REFERENCES_FORMAT = "JSON lines with 'question_id' and 'choices' of two turns"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its two turns."""

    number: int
    category: str
    turns: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Template:
    """One of the judge's prompts; the user message has placeholders in braces."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class ProtocolTexts:
    """The questions by number, and the judge's prompts by name."""

    questions: Mapping[int, Question]
    templates: Mapping[str, Template]

    def template(self, number: int, turn: int) -> Template:
        """Return the judge's prompt for a question's turn."""
        return self.templates[template_name(number, turn)]


def prompt_id(number: int, turn: int) -> str:
    """Return the id of a question's turn."""
    return f"{number}#{turn}"


def parse_prompt_id(name: str) -> tuple[int, int]:
    """Return the question number and the turn of a prompt id."""
    number, _, turn = name.partition("#")
    return int(number), int(turn)


def validate_turn(number: object, turn: object) -> tuple[int, int] | None:
    """Return a question number and a turn if MT-Bench has them, else None."""
    if type(number) is not int or type(turn) is not int:
        return None
    is_question = FIRST_NUMBER <= number < FIRST_NUMBER + PER_CATEGORY * len(CATEGORIES)
    return (number, turn) if is_question and 1 <= turn <= TURNS else None


def category_of(number: int) -> str:
    """Return a question's category, which follows from its number."""
    return CATEGORIES[(number - FIRST_NUMBER) // PER_CATEGORY]


def template_name(number: int, turn: int) -> str:
    """Return the name of the judge's prompt for a question's turn."""
    kind = "single-math-v1" if category_of(number) in REFERENCE_CATEGORIES else "single-v1"
    return kind if turn == 1 else f"{kind}-multi-turn"


def turn_prompt(question: Question, answers: Sequence[Answer], meta: Mapping[str, str]) -> Prompt:
    """Return the prompt of the turn after the given answers."""
    messages = [Message("user", question.turns[0])]
    for answer, user_turn in zip(answers, question.turns[1:], strict=False):
        messages += [Message("assistant", answer.text), Message("user", user_turn)]
    turn = len(answers) + 1
    prompt_meta = {"category": question.category, **meta}
    return Prompt(prompt_id(question.number, turn), tuple(messages), prompt_meta)


def load_texts(folder: Path) -> ProtocolTexts:
    """Return the questions and the judge's prompts.

    Raises:
        AssetError: the files are missing, or are not the published ones.
    """
    paths = [assets.require(f"{FOLDER}/{name}", folder) for name in TEXT_FILES]
    return _load_texts(*paths)


def load_references(name: str, folder: Path) -> Mapping[int, tuple[str, str]]:
    """Return reference answers by question number; `name` is a judge or a file.

    Raises:
        AssetError: there are none, or GPT-4's are not the published ones.
        InputError: the file has an unexpected form.
    """
    return _load_references(references_path(name, folder))


def references_path(name: str, folder: Path) -> Path:
    """Return the file with a judge's references.

    Raises:
        AssetError: there is no such file, or GPT-4's is not the published one.
    """
    if name == OFFICIAL_JUDGE:
        return assets.require(f"{FOLDER}/reference_answer/{OFFICIAL_JUDGE}.jsonl", folder)
    judge_path = folder / FOLDER / "reference_answer" / f"{name}.jsonl"
    for path in (judge_path, Path(name)):
        if path.is_file():
            return path
    raise AssetError(
        f"no reference answers of {name!r}, which it needs to judge math, reasoning and coding: "
        f"put them into {judge_path}, name a file with --set references=FILE, or use GPT-4's with "
        f"--set references={OFFICIAL_JUDGE}"
    )


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
                f"{path}: a reference has an unexpected form ({error!r}); "
                f"expected {REFERENCES_FORMAT}"
            ) from error
    return references
