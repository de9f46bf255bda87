"""FastChat's files: answers (`model_answer/*.jsonl`), verdicts (`model_judgment/*_single.jsonl`).

A verdicts file holds many models, a row an answer; rows that rate an answer again are kept, the
score decides which count. The stored score is the verdict, also where the judgment says otherwise
(it is told how often); -1, null and NaN are none. The answers that the judge saw are taken out of
`user_prompt`, where it is the protocol's own prompt.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.benchmarks import mt_bench_data as data
from harness.benchmarks.mt_bench_quotes import Quoted, ordered, quoted
from harness.errors import InputError
from harness.reading import check_rows, fault, kind, read_lines, shown, stem
from harness.seeds import digest
from harness.types import Answer, Answers, FinishReason, Graded, Reading, Verdict

ANSWERS = "JSON lines with 'question_id', 'model_id' and 'choices' of two turns"
VERDICTS = "JSON lines with 'question_id', 'turn', 'model', 'judge' and 'score'"
FAILED = -1
NOBODY = "unknown judge"
Row = Mapping[str, Any]


def read_answers(path: Path) -> list[Answers]:
    """Read an answers file; contestants are told apart by `model_id`.

    A turn that a row does not have is missing.

    Raises:
        InputError: the file cannot be read; a row has another form; a question is unknown or is
            answered twice; nothing is answered.
    """
    rows = read_lines(path, ANSWERS)
    if not rows:
        raise InputError(f"{path} answers nothing; expected {ANSWERS}")
    by_name: dict[str, dict[int, list[Answer]]] = {}
    for row in rows:
        number, _ = _place(path, row, 1)
        own = by_name.setdefault(str(row.get("model_id") or stem(path)), {})
        if number in own:
            raise InputError(f"{path}: question {number} is answered twice: keep one row of it")
        own[number] = _turns(path, number, row)
    return [_answers(name, own) for name, own in by_name.items()]


def read_verdicts(
    path: Path, texts: data.Texts | None, read: Callable[[str], Reading | None]
) -> list[Graded]:
    """Read a verdicts file; contestants are told apart by `model`, rows keep their order.

    `read` says what a judgment's text gives. Without `texts` no answers are recovered.

    Raises:
        InputError: the file cannot be read; a row has another form; a question or turn is unknown.
    """
    rows = read_lines(path, VERDICTS)
    if not rows:
        raise InputError(f"{path} is empty; expected {VERDICTS}")
    if "g1_winner" in rows[0]:
        raise InputError(f"{path} holds pairwise verdicts; expected {VERDICTS}")
    by_model: dict[str, list[Row]] = {}
    for row in check_rows(path, rows, VERDICTS, "model"):
        by_model.setdefault(row["model"], []).append(row)
    return [_graded(path, name, own, texts, read) for name, own in by_model.items()]


def files(graded: Graded, asked: Mapping[str, str]) -> dict[str, str]:
    """Return answers and verdicts; `asked` is the user's part of each request, where known."""
    found = {f"model_judgment/{_file(graded.judge)}_single.jsonl": _judgments(graded, asked)}
    if graded.answers:
        found[f"model_answer/{_file(graded.label)}.jsonl"] = _answer_rows(graded)
    return found


def _answers(name: str, own: Mapping[int, Sequence[Answer]]) -> Answers:
    found = ordered(answer for turns in own.values() for answer in turns)
    return Answers(name, found, data.ANSWERS - len(found))


def _place(path: Path, row: Row, turn: object) -> tuple[int, int]:
    found = data.located(row.get("question_id"), turn)
    if found is None:
        told = f"question {shown(repr(row.get('question_id')))}, turn {shown(repr(turn))}"
        raise InputError(
            f"{path}: {told}, is not this benchmark's: remove it, or name another benchmark"
        )
    return found


def _turns(path: Path, number: int, row: Row) -> list[Answer]:
    try:
        told = row["choices"][0]["turns"]
        texts = [turn["content"] if isinstance(turn, Mapping) else turn for turn in told]
    except (LookupError, TypeError) as error:
        raise InputError(
            f"{path}: the answer to question {number} has another form ({error!r}); "
            f"expected {ANSWERS}"
        ) from error
    if len(texts) > data.TURNS:
        raise InputError(f"{path}: question {number} has {len(texts)} turns, not {data.TURNS}")
    ended = [*(row.get("finish_reasons") or ()), None, None]
    return [
        Answer(data.prompt_id(number, turn), _text(path, number, text), _reason(reason))
        for turn, (text, reason) in enumerate(zip(texts, ended, strict=False), start=1)
    ]


def _text(path: Path, number: int, text: Any) -> str:
    if told := fault({"turn": text}, "turn"):
        raise InputError(f"{path}: question {number} has an answer {told}; expected {ANSWERS}")
    return str(text)


def _reason(told: Any) -> FinishReason | None:
    return told if told in ("stop", "length") else None


def _graded(
    path: Path,
    name: str,
    rows: Sequence[Row],
    texts: data.Texts | None,
    read: Callable[[str], Reading | None],
) -> Graded:
    verdicts = tuple(_verdict(path, row) for row in rows)
    judges = Counter(_judge(row) for row in rows)
    found = Quoted((), (), 0) if texts is None else quoted(rows, texts)
    apart = sum(bool(v.text) and read(v.text) != v.reading for v in verdicts)
    return Graded(
        label=name,
        judge=judges.most_common(1)[0][0],
        answers=found.answers,
        baseline=(),
        verdicts=verdicts,
        prompts=found.prompts,
        baseline_label="none",
        notes=_notes(apart, found.foreign, judges),
    )


def _notes(apart: int, foreign: int, judges: Mapping[str, int]) -> tuple[str, ...]:
    found = []
    if apart:
        told = f"{apart} stored scores are not what their judgments say: the stored ones count"
        found.append(told)
    if foreign:
        found.append(f"{foreign} verdicts were given to another prompt than the protocol's")
    if len(judges) > 1:
        told = ", ".join(f"{name} ({count})" for name, count in judges.items())
        found.append(f"verdicts of more than one judge: {told}")
    return tuple(found)


def _verdict(path: Path, row: Row) -> Verdict:
    name = data.prompt_id(*_place(path, row, row.get("turn")))
    text = row.get("judgment")
    served = str(row.get("served") or _judge(row))
    return Verdict(name, _reading(path, name, row), served, text if isinstance(text, str) else "")


def _judge(row: Row) -> str:
    told = row.get("judge")
    first = told[0] if isinstance(told, list) and told else told
    return first if isinstance(first, str) and first else NOBODY


def _reading(path: Path, name: str, row: Row) -> Reading | None:
    score = row.get("score")
    if score is None or score == FAILED or (isinstance(score, float) and math.isnan(score)):
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or math.isinf(score):
        told = repr(score) if isinstance(score, float) else kind(score)
        raise InputError(
            f"{path}: the score of {name} is {told}; it must be a number, or {FAILED} where there "
            "is none"
        )
    return Reading(float(score))


def _answer_rows(graded: Graded) -> str:
    by_number: dict[int, list[Answer]] = {}
    for answer in ordered(graded.answers):
        by_number.setdefault(data.place(answer.prompt_id)[0], []).append(answer)
    return _lines(
        {
            "question_id": number,
            "answer_id": digest([graded.label, number, [a.text for a in turns]])[:22],
            "model_id": graded.label,
            "choices": [{"index": 0, "turns": [a.text for a in turns]}],
            **({"finish_reasons": [a.finish_reason for a in turns]} if _told(turns) else {}),
        }
        for number, turns in by_number.items()
    )


def _told(turns: Sequence[Answer]) -> bool:
    return any(answer.finish_reason for answer in turns)


def _judgments(graded: Graded, asked: Mapping[str, str]) -> str:
    return _lines(
        {
            "question_id": number,
            "model": graded.label,
            "judge": [graded.judge, data.template_name(number, turn)],
            "user_prompt": asked.get(verdict.request_id, ""),
            "judgment": verdict.text,
            "score": _score(verdict),
            "turn": turn,
            **({"served": verdict.model} if verdict.model not in ("", graded.judge) else {}),
        }
        for verdict in graded.verdicts
        for number, turn in [data.place(verdict.request_id)]
    )


def _score(verdict: Verdict) -> int | float:
    value = verdict.reading.value if verdict.reading else float(FAILED)
    return int(value) if value.is_integer() else value


def _file(label: str) -> str:
    """Return a label as a file's name that stays in its folder."""
    name = quote(label, safe=" +,@()=", errors="replace")
    return re.sub(r"^\.", "%2E", name)[:120]


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
