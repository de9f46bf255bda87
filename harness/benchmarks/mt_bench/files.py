"""FastChat's files: answers (`model_answer/*.jsonl`), verdicts (`model_judgment/*_single.jsonl`).

A verdicts file has one row per answer, of many models. Rows that rate an answer again are kept, and
scoring decides which of them count. The stored score is the verdict, even if the judgment's text
disagrees (the number of such rows is reported); -1, null and NaN are unparsed. Answers are
recovered from `user_prompt`, which holds the judge's prompt, if it is the protocol's own: they are
the text between the known parts. If an answer was judged twice, the last is taken.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmarks.mt_bench import data
from harness.core.io import (
    check_rows,
    file_name,
    file_stem,
    json_lines,
    json_type,
    row_problem,
)
from harness.core.seeds import digest
from harness.core.tables import read_lines
from harness.core.terminal import shorten
from harness.errors import InputError
from harness.types import Answer, Answers, FinishReason, Graded, ParsedVerdict, Prompt, Verdict

ANSWERS = "JSON lines with 'question_id', 'model_id' and 'choices' of two turns"
VERDICTS = "JSON lines with 'question_id', 'turn', 'model', 'judge' and 'score'"
NUMBERS = ("question_id", "turn")
FAILED = -1
"""FastChat's score of a reply without a rating."""
UNKNOWN_JUDGE = "unknown judge"
MAX_NAME_LENGTH = 120
"""Characters of a label in a file name."""
PLACEHOLDER = re.compile(r"{(\w+)}")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class QuotedAnswers:
    """The answers that the judge's prompts of one contestant quote."""

    answers: tuple[Answer, ...]
    prompts: tuple[Prompt, ...]
    """The prompts of the answers."""
    foreign: int
    """The number of rows with another judge prompt than the protocol's."""


def read_answers(path: Path) -> list[Answers]:
    """Read an answers file; `model_id` identifies contestants.

    A turn that a row lacks counts as missing.

    Raises:
        InputError: the file cannot be read; a row has an unexpected form; a question is unknown or
            is answered twice; the file has no answers.
    """
    rows = [_with_numbers(row) for row in read_lines(path, ANSWERS)]
    if not rows:
        raise InputError(f"{path} has no answers; expected {ANSWERS}")
    by_name: dict[str, dict[int, list[Answer]]] = {}
    for row in rows:
        number, _ = _question_turn(path, row, 1)
        answers = by_name.setdefault(str(row.get("model_id") or file_stem(path)), {})
        if number in answers:
            raise InputError(f"{path}: question {number} is answered twice: keep one row of it")
        answers[number] = _turns(path, number, row)
    return [_answers(name, answers) for name, answers in by_name.items()]


def read_verdicts(
    path: Path, texts: data.ProtocolTexts | None, parse: Callable[[str], ParsedVerdict | None]
) -> list[Graded]:
    """Read a verdicts file; `model` identifies contestants, and rows keep their order.

    Verdicts of several judges are parted, and a note says so. `parse` parses a judgment's text.
    Without `texts` no answers are recovered.

    Raises:
        InputError: the file cannot be read; a row has an unexpected form; a question or turn is
            unknown.
    """
    rows = [_with_numbers(row) for row in read_lines(path, VERDICTS)]
    if not rows:
        raise InputError(f"{path} is empty; expected {VERDICTS}")
    if "g1_winner" in rows[0]:
        raise InputError(f"{path} holds pairwise verdicts; expected {VERDICTS}")
    by_model: dict[str, list[Row]] = {}
    for row in check_rows(path, rows, VERDICTS, "model"):
        by_model.setdefault(row["model"], []).append(row)
    return [
        part
        for name, model_rows in by_model.items()
        for part in _parted(path, name, model_rows, texts, parse)
    ]


def files(graded: Graded, user_prompts: Mapping[str, str]) -> dict[str, str]:
    """Return answers and verdicts; `user_prompts` maps request ids to the known user messages."""
    judge, label = (file_name(name)[:MAX_NAME_LENGTH] for name in (graded.judge, graded.label))
    contents = {f"model_judgment/{judge}_single.jsonl": _judgments(graded, user_prompts)}
    if graded.answers:
        contents[f"model_answer/{label}.jsonl"] = _answer_rows(graded)
    return contents


def _answers(name: str, by_number: Mapping[int, Sequence[Answer]]) -> Answers:
    answers = sort_answers(answer for turns in by_number.values() for answer in turns)
    return Answers(name, answers, data.ANSWER_COUNT - len(answers))


def _question_turn(path: Path, row: Row, turn: object) -> tuple[int, int]:
    position = data.validate_turn(row.get("question_id"), turn)
    if position is None:
        description = (
            f"question {shorten(repr(row.get('question_id')))}, turn {shorten(repr(turn))}"
        )
        raise InputError(
            f"{path}: {description}, is not this benchmark's: remove it, or name another benchmark"
        )
    return position


def _turns(path: Path, number: int, row: Row) -> list[Answer]:
    try:
        raw_turns = row["choices"][0]["turns"]
        texts = [turn["content"] if isinstance(turn, Mapping) else turn for turn in raw_turns]
    except (LookupError, TypeError) as error:
        raise InputError(
            f"{path}: the answer to question {number} has an unexpected form ({error!r}); "
            f"expected {ANSWERS}"
        ) from error
    if len(texts) > data.TURNS:
        raise InputError(f"{path}: question {number} has {len(texts)} turns, not {data.TURNS}")
    reasons = [*(row.get("finish_reasons") or ()), None, None]
    return [
        Answer(data.prompt_id(number, turn), _text(path, number, text), _reason(reason))
        for turn, (text, reason) in enumerate(zip(texts, reasons, strict=False), start=1)
    ]


def _text(path: Path, number: int, text: Any) -> str:
    if problem := row_problem({"turn": text}, "turn"):
        raise InputError(f"{path}: question {number} has an answer {problem}; expected {ANSWERS}")
    return str(text)


def _reason(value: Any) -> FinishReason | None:
    return value if value in ("stop", "length") else None


def _with_numbers(row: Row) -> dict[str, Any]:
    """Return a row whose question and turn, if they are written as text or 81.0, are numbers."""
    return {key: _as_number(value) if key in NUMBERS else value for key, value in row.items()}


def _as_number(value: Any) -> Any:
    is_whole = isinstance(value, float) and value.is_integer()
    is_digits = isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII)
    return int(value) if is_whole or is_digits else value


def _parted(
    path: Path,
    name: str,
    rows: Sequence[Row],
    texts: data.ProtocolTexts | None,
    parse: Callable[[str], ParsedVerdict | None],
) -> list[Graded]:
    """Return a contestant's verdicts by judge; those of an unnamed one are the commonest's."""
    judges = Counter(judge for row in rows if (judge := _judge(row)) != UNKNOWN_JUDGE)
    commonest = judges.most_common(1)[0][0] if judges else UNKNOWN_JUDGE
    parts: dict[str, list[Row]] = {}
    for row in rows:
        judge = _judge(row)
        parts.setdefault(commonest if judge == UNKNOWN_JUDGE else judge, []).append(row)
    return [_graded(path, name, judge, part, judges, texts, parse) for judge, part in parts.items()]


def _graded(
    path: Path,
    name: str,
    judge: str,
    rows: Sequence[Row],
    judges: Mapping[str, int],
    texts: data.ProtocolTexts | None,
    parse: Callable[[str], ParsedVerdict | None],
) -> Graded:
    verdicts = tuple(_verdict(path, row) for row in rows)
    quotes = QuotedAnswers((), (), 0) if texts is None else extract_answers(rows, texts)
    mismatches = sum(bool(v.text) and parse(v.text) != v.parsed for v in verdicts)
    return Graded(
        label=name,
        judge=judge,
        answers=quotes.answers,
        baseline=(),
        verdicts=verdicts,
        prompts=quotes.prompts,
        baseline_label="none",
        notes=_notes(mismatches, quotes.foreign, judges),
    )


def _notes(mismatches: int, foreign: int, judges: Mapping[str, int]) -> tuple[str, ...]:
    notes = []
    if mismatches:
        note = f"{mismatches} stored scores differ from their judgments: the stored ones count"
        notes.append(note)
    if foreign:
        notes.append(f"{foreign} verdicts answer another prompt than the protocol's")
    if len(judges) > 1:
        note = ", ".join(f"{name} ({count})" for name, count in judges.items())
        notes.append(f"the file holds verdicts of several judges, each scored by itself: {note}")
    return tuple(notes)


def _verdict(path: Path, row: Row) -> Verdict:
    name = data.prompt_id(*_question_turn(path, row, row.get("turn")))
    text = row.get("judgment")
    served = str(row.get("served") or _judge(row))
    return Verdict(
        name, _parse_score(path, name, row), served, text if isinstance(text, str) else ""
    )


def _judge(row: Row) -> str:
    judge = row.get("judge")
    name = judge[0] if isinstance(judge, list) and judge else judge
    return name if isinstance(name, str) and name else UNKNOWN_JUDGE


def _parse_score(path: Path, name: str, row: Row) -> ParsedVerdict | None:
    score = row.get("score")
    if score is None or score == FAILED or (isinstance(score, float) and math.isnan(score)):
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or math.isinf(score):
        description = repr(score) if isinstance(score, float) else json_type(score)
        raise InputError(
            f"{path}: the score of {name} is {description}; it must be a number, or {FAILED} if "
            "there is none"
        )
    return ParsedVerdict(float(score))


def extract_answers(rows: Sequence[Mapping[str, Any]], texts: data.ProtocolTexts) -> QuotedAnswers:
    """Return the answers that the judge saw; all rows must have a valid question and turn."""
    judged: dict[str, Answer] = {}
    earlier: dict[str, Answer] = {}
    foreign = 0
    for row in rows:
        number, turn, user_prompt = row["question_id"], row["turn"], row.get("user_prompt") or ""
        match = _pattern(texts, number, turn).fullmatch(str(user_prompt))
        if match is None:
            foreign += user_prompt != ""
            continue
        for t in range(1, turn + 1):
            name = data.prompt_id(number, t)
            text = match["answer" if turn == 1 else f"answer_{t}"]
            (judged if t == turn else earlier)[name] = Answer(name, text)
    answers = sort_answers({**earlier, **judged}.values())
    return QuotedAnswers(answers, _prompts(answers, texts), foreign)


def sort_answers(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Return answers in the order of generation: all first turns, then all second turns."""
    return tuple(sorted(answers, key=lambda answer: data.parse_prompt_id(answer.prompt_id)[::-1]))


def _pattern(texts: data.ProtocolTexts, number: int, turn: int) -> re.Pattern[str]:
    """Return a pattern that matches the judge's prompt with any answers and references."""
    first, second = texts.questions[number].turns
    known = {"question": first, "question_1": first, "question_2": second}
    words = PLACEHOLDER.split(texts.template(number, turn).user)
    words[::2] = map(re.escape, words[::2])
    words[1::2] = [
        re.escape(known[name]) if name in known else f"(?P<{name}>.*?)" for name in words[1::2]
    ]
    return re.compile("".join(words), re.DOTALL)


def _prompts(answers: Sequence[Answer], texts: data.ProtocolTexts) -> tuple[Prompt, ...]:
    by_id = {answer.prompt_id: answer for answer in answers}
    prompts = []
    for answer in answers:
        number, turn = data.parse_prompt_id(answer.prompt_id)
        before = [by_id[data.prompt_id(number, t)] for t in range(1, turn)]
        prompts.append(data.turn_prompt(texts.questions[number], before, {"baseline": "none"}))
    return tuple(prompts)


def _answer_rows(graded: Graded) -> str:
    by_number: dict[int, list[Answer]] = {}
    for answer in sort_answers(graded.answers):
        by_number.setdefault(data.parse_prompt_id(answer.prompt_id)[0], []).append(answer)
    return json_lines(
        {
            "question_id": number,
            "answer_id": digest([graded.label, number, [a.text for a in turns]])[:22],
            "model_id": graded.label,
            "choices": [{"index": 0, "turns": [a.text for a in turns]}],
            **_finish_reasons(turns),
        }
        for number, turns in by_number.items()
    )


def _finish_reasons(turns: Sequence[Answer]) -> dict[str, list[FinishReason | None]]:
    reasons = [answer.finish_reason for answer in turns]
    return {"finish_reasons": reasons} if any(reasons) else {}


def _judgments(graded: Graded, user_prompts: Mapping[str, str]) -> str:
    return json_lines(
        {
            "question_id": number,
            "model": graded.label,
            "judge": [graded.judge, data.template_name(number, turn)],
            "user_prompt": user_prompts.get(verdict.request_id, ""),
            "judgment": verdict.text,
            "score": _score(verdict),
            "turn": turn,
            **({"served": verdict.model} if verdict.model not in ("", graded.judge) else {}),
        }
        for verdict in graded.verdicts
        for number, turn in [data.parse_prompt_id(verdict.request_id)]
    )


def _score(verdict: Verdict) -> int | float:
    value = verdict.parsed.value if verdict.parsed else float(FAILED)
    return int(value) if value.is_integer() else value
