"""WildBench's files: answers of its model outputs, and verdicts of both kinds.

A verdict file is a JSON list (upstream's `eval_results/*/score.v2` and `pairwise.v2`); it quotes
the answers that the judge saw. Upstream drops replies that are no JSON before it writes the file;
rows without a usable score or choice are kept here, and counted as unparsed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.io import check_rows, file_name, file_stem, json_type, parse_jsonl, read_text
from harness.core.terminal import shorten
from harness.errors import InputError
from harness.types import Answer, Answers, Graded, ParsedVerdict, Verdict

ANSWERS = "rows with 'session_id' and 'output', one text or a list with one"
VERDICTS = "a JSON list of rows with 'session_id', 'score' and 'model_output'"
COMPARISONS = (
    "a JSON list of rows with 'session_id', 'model_A', 'model_B', 'winner', 'extent' and "
    "'model_outputs'"
)
SWAPPED = "#B"
"""The end of a request's id if the contestant is shown second."""
JUDGE_FOLDER = "eval="
"""How a folder begins that is called after the judge of its files, upstream."""
UNKNOWN_JUDGE = "unknown judge"
STRONG, SLIGHT = 2, 1
VALUES = {"A++": 1.0, "A+": 0.75, "A=B": 0.5, "B+": 0.25, "B++": 0.0}
"""The preference for A by choice."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Side:
    """One side of a comparison in a verdict file."""

    name: str
    text: str


def parse_score(reply: str) -> ParsedVerdict | None:
    """Return the score in a judge's reply, which must be a JSON object, as upstream."""
    content = _json_object(reply)
    return None if content is None else read_score(content.get("score"))


def parse_choice(reply: str) -> ParsedVerdict | None:
    """Return the choice in a judge's reply, which must be a JSON object, as upstream."""
    content = _json_object(reply)
    choice = None if content is None else content.get("choice")
    if not isinstance(choice, str) or choice not in VALUES:
        return None
    return ParsedVerdict(VALUES[choice], choice)


def read_score(score: Any) -> ParsedVerdict | None:
    """Return a score from 1 to 10, as a number or as the text of one; None: it is none."""
    if isinstance(score, bool) or not isinstance(score, str | int | float):
        return None
    try:
        value = float(score)
    except (ValueError, OverflowError):
        return None
    return ParsedVerdict(value) if math.isfinite(value) and 1 <= value <= 10 else None


def read_answers(path: Path) -> list[Answers]:
    """Read a file of answers in the layout of WildBench's model outputs.

    Raises:
        InputError: the file cannot be read; a row does not fit; a conversation is answered twice.
    """
    by_name: dict[str, dict[str, Answer]] = {}
    for number, row in enumerate(check_rows(path, _rows(path, ANSWERS), ANSWERS, "session_id")):
        text = row.get("output")
        text = text[0] if isinstance(text, list) and len(text) == 1 else text
        if not isinstance(text, str):
            raise InputError(
                f"{path}: row {number} (from 0) has an 'output' that is {json_type(text)}; "
                f"expected {ANSWERS}"
            )
        name = row["generator"] if isinstance(row.get("generator"), str) else file_stem(path)
        answers = by_name.setdefault(name, {})
        if row["session_id"] in answers:
            raise InputError(f"{path}: {row['session_id']} is answered twice: keep one row of it")
        answers[row["session_id"]] = Answer(row["session_id"], text)
    return [Answers(name, tuple(answers.values())) for name, answers in by_name.items()]


def read_ratings(path: Path) -> list[Graded]:
    """Read a file of ratings.

    Raises:
        InputError: the file cannot be read, or a row does not fit.
    """
    rows = check_rows(path, _rows(path, VERDICTS), VERDICTS, "session_id")
    if not rows:
        raise InputError(f"{path} is an empty list; expected {VERDICTS}")
    if "winner" in rows[0] or "choice" in rows[0]:
        raise InputError(f"{path} holds comparisons: score it with wildbench-pairwise")
    answers = {
        row["session_id"]: Answer(row["session_id"], text)
        for row in rows
        if isinstance(text := _first(row.get("model_output")), str)
    }
    verdicts = tuple(
        Verdict(row["session_id"], read_score(_score(row)), _served(path, row), _reply(row))
        for row in rows
    )
    return [_graded(path, verdicts, answers.values(), ())]


def read_comparisons(path: Path, reference: str) -> list[Graded]:
    """Read a file of comparisons with a reference; preferences are the contestant's.

    Raises:
        InputError: the file cannot be read; a row does not fit; no side is the reference.
    """
    rows = check_rows(path, _rows(path, COMPARISONS), COMPARISONS, "session_id")
    if not rows:
        raise InputError(f"{path} is an empty list; expected {COMPARISONS}")
    verdicts, own, other = [], [], []
    for number, row in enumerate(rows):
        key, sides = row["session_id"], _sides(path, number, row)
        references = [side for side in sides if reference in side.name]
        if len(references) != 1:
            raise InputError(
                f"{path}: row {number} (from 0) compares {sides[0].name} with {sides[1].name}: "
                f"name the one that is the reference with --set against=NAME (it is {reference})"
            )
        contestant = sides[0] if references[0] is sides[1] else sides[1]
        own.append(Answer(key, contestant.text))
        other.append(Answer(key, references[0].text))
        verdicts.append(
            Verdict(key, _winner(row, contestant.name), _served(path, row), _reply(row))
        )
    return [_graded(path, tuple(verdicts), own, other, reference)]


def ratings_file(graded: Graded) -> dict[str, str]:
    """Return a contestant's ratings as upstream writes them, unparsed ones included."""
    texts = {answer.prompt_id: answer.text for answer in graded.answers}
    rows = [
        {
            "session_id": verdict.request_id,
            "parsed_result": _json_object(verdict.text),
            "model_test": graded.label,
            "judge": verdict.model or graded.judge,
            "score": _score_text(verdict.parsed.value) if verdict.parsed else None,
            "model_output": texts.get(verdict.request_id),
        }
        for verdict in graded.verdicts
    ]
    return {f"score.v2/{file_name(graded.label)}.json": json.dumps(rows, indent=2)}


def comparisons_file(graded: Graded) -> dict[str, str]:
    """Return a contestant's comparisons as upstream writes them; it is model A in each row."""
    texts = {answer.prompt_id: answer.text for answer in graded.answers}
    references = {answer.prompt_id: answer.text for answer in graded.baseline}
    rows = []
    for verdict in graded.verdicts:
        winner, extent = _outcome(verdict, graded)
        key = verdict.request_id.partition("#")[0]
        row: dict[str, Any] = {"session_id": key, "parsed_result": _json_object(verdict.text)}
        row |= {"model_A": graded.label, "model_B": graded.baseline_label}
        row |= {"judge": verdict.model or graded.judge, "winner": winner, "extent": extent}
        outputs = {
            graded.label: texts.get(key, ""),
            graded.baseline_label: references.get(key, ""),
        }
        rows.append(row | {"model_outputs": outputs})
    name = f"pairwise.v2/ref={file_name(graded.baseline_label)}/{file_name(graded.label)}.json"
    return {name: json.dumps(rows, indent=2)}


def preference(verdict: Verdict) -> float:
    """Return a parsed verdict's preference for the contestant, whichever slot it was in."""
    assert verdict.parsed is not None
    value = verdict.parsed.value
    return 1 - value if verdict.request_id.endswith(SWAPPED) else value


def _outcome(verdict: Verdict, graded: Graded) -> tuple[str | None, int | None]:
    if verdict.parsed is None:
        return None, None
    value = preference(verdict)
    winner = "tie" if value == 0.5 else graded.label if value > 0.5 else graded.baseline_label
    return winner, round(4 * abs(value - 0.5))


def _graded(
    path: Path,
    verdicts: tuple[Verdict, ...],
    answers: Any,
    baseline: Sequence[Answer],
    baseline_label: str = "none",
) -> Graded:
    judges = sorted({verdict.model for verdict in verdicts})
    notes = (f"verdicts of more than one judge: {', '.join(judges)}",) if len(judges) > 1 else ()
    return Graded(
        label=file_stem(path),
        judge=judges[0],
        answers=tuple(answers),
        baseline=tuple(baseline),
        verdicts=verdicts,
        baseline_label=baseline_label,
        notes=notes,
    )


def _sides(path: Path, number: int, row: Row) -> tuple[Side, Side]:
    outputs = row.get("model_outputs")
    names = (row.get("model_A"), row.get("model_B"))
    if not isinstance(outputs, Mapping) or not all(isinstance(n, str) for n in names):
        raise InputError(f"{path}: row {number} (from 0) does not fit; expected {COMPARISONS}")
    texts = [_first(outputs.get(name)) for name in names]
    if not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"{path}: row {number} (from 0) lacks an answer in 'model_outputs'; "
            f"expected {COMPARISONS}"
        )
    first, second = (Side(str(n), str(t)) for n, t in zip(names, texts, strict=True))
    return first, second


def _winner(row: Row, contestant: str) -> ParsedVerdict | None:
    winner, extent = row.get("winner"), row.get("extent")
    if winner == "tie":
        return ParsedVerdict(0.5, "tie")
    if winner not in (row["model_A"], row["model_B"]) or extent not in (SLIGHT, STRONG):
        return None
    sign = 1 if winner == contestant else -1
    label = ("win" if sign > 0 else "loss") + ("++" if extent == STRONG else "+")
    return ParsedVerdict(0.5 + sign * extent / 4, label)


def _score(row: Row) -> Any:
    parsed = row.get("parsed_result")
    return row["score"] if "score" in row or not isinstance(parsed, dict) else parsed.get("score")


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _served(path: Path, row: Row) -> str:
    """Return the judge: the row's, or the one that the file's folder is called after."""
    judge = row.get("judge")
    if isinstance(judge, str) and judge:
        return judge
    folders = [part for part in path.absolute().parts if part.startswith(JUDGE_FOLDER)]
    return folders[-1].removeprefix(JUDGE_FOLDER) if folders else UNKNOWN_JUDGE


def _reply(row: Row) -> str:
    parsed = row.get("parsed_result")
    return json.dumps(parsed, ensure_ascii=False) if parsed is not None else ""


def _score_text(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _rows(path: Path, expected: str) -> Any:
    text = read_text(path, expected)
    if text.lstrip().startswith("{"):
        return parse_jsonl(str(path), text, expected)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON ({shorten(str(error))}); is the file cut off? Expected {expected}"
        ) from error
