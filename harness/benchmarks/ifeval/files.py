"""Files of answers and of verdicts on instruction following.

Answers are read as google-research and IFBench write them (`prompt`, `response`), as lm-eval logs
its samples (`doc`, `resps`) and in alpaca_eval's names (`instruction`, `output`); they belong to a
prompt by its text, which may differ in white space at its ends. Verdicts are rows with `key`,
`strict` and `loose`. What does not fit is counted in a note: rows of other prompts, and prompts
that are answered twice, of which the last counts, as upstream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.benchmarks.ifeval.constraints import ConstrainedPrompt, Outcome
from harness.core.io import file_stem, json_lines, json_type, parse_jsonl, read_text, row_problem
from harness.core.terminal import shorten
from harness.errors import InputError
from harness.types import Answer, FinishReason, Graded, ParsedVerdict, Verdict

EXPECTED = "rows with 'prompt' and 'response', or with 'key', 'strict' and 'loose'"
NAME_KEYS = ("generator", "model")
STORED = "stored verdicts"
"""The judge of a file with verdicts alone."""
Row = Mapping[str, Any]


@dataclass
class ContestantRows:
    """What a file holds of one contestant."""

    name: str
    answers: dict[str, Answer] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    repeated: int = 0
    """Rows on a prompt that an earlier row was on."""
    conflicting: int = 0
    """Those among them that differ from it."""
    foreign: list[str] = field(default_factory=list)
    """The prompts or keys that are none of the benchmark's."""

    def notes(self) -> tuple[str, ...]:
        """Return notes on the rows that do not count."""
        example = f", e.g. {shorten(self.foreign[0])!r}" if self.foreign else ""
        foreign = len(self.foreign)
        notices = {
            f"{foreign} rows are on other prompts and do not count{example}": foreign,
            f"{self.repeated} rows are repeated ({self.conflicting} of them differ): the last on "
            "each prompt counts": self.repeated,
        }
        return tuple(note for note, applies in notices.items() if applies)


def read_contestants(path: Path, questions: Sequence[ConstrainedPrompt]) -> list[ContestantRows]:
    """Read a file of answers or verdicts, JSON or JSON lines, plain or gzipped.

    Raises:
        InputError: the file cannot be read; a row does not fit; no row is on a prompt of the
            benchmark.
    """
    by_text = {question.text.strip(): question for question in questions}
    by_key = {question.id: question for question in questions}
    contestants: dict[str, ContestantRows] = {}
    for number, row in enumerate(_rows(path), start=1):
        name = next((row[k] for k in NAME_KEYS if isinstance(row.get(k), str)), file_stem(path))
        contestant = contestants.setdefault(name, ContestantRows(name))
        if isinstance(row.get("strict"), list):
            _add_outcome(contestant, by_key, _where(path, number), row)
        else:
            _add_answer(contestant, by_text, _where(path, number), row)
    if not any(c.answers or c.outcomes for c in contestants.values()):
        examples = [c.foreign[0] for c in contestants.values() if c.foreign]
        example = f", e.g. {shorten(examples[0])!r}" if examples else ""
        raise InputError(
            f"{path}: no row is on a prompt of this benchmark{example}; expected {EXPECTED}"
        )
    return list(contestants.values())


def outcome_verdict(question: ConstrainedPrompt, outcome: Outcome, checker: str) -> Verdict:
    """Return an outcome as the verdict that results store."""
    data: dict[str, Any] = {"strict": outcome.strict, "loose": outcome.loose}
    data |= {"unchecked": outcome.unchecked} if outcome.unchecked else {}
    data |= {} if outcome.answered else {"answered": False}
    label = f"{sum(outcome.strict)} of {len(outcome.strict)}"
    return Verdict(question.id, ParsedVerdict(outcome.share, label), checker, json.dumps(data))


def verdict_outcome(verdict: Verdict) -> Outcome:
    """Return the outcome that a verdict stores.

    Raises:
        InputError: it stores none.
    """
    try:
        data = json.loads(verdict.text)
        return Outcome(
            tuple(map(bool, data["strict"])),
            tuple(map(bool, data["loose"])),
            tuple(data.get("unchecked", ())),
            bool(data.get("answered", True)),
        )
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"the verdict on prompt {verdict.request_id} is not of this benchmark "
            f"({type(error).__name__})"
        ) from error


def files(graded: Graded, questions: Sequence[ConstrainedPrompt]) -> dict[str, str]:
    """Return the verdicts and, where they are known, the answers and upstream's result files."""
    outcomes = {v.request_id: verdict_outcome(v) for v in graded.verdicts}
    contents = {
        "verdicts.jsonl": json_lines(
            {"key": key, "strict": list(outcome.strict), "loose": list(outcome.loose)}
            for key, outcome in outcomes.items()
            if outcome.answered
        )
    }
    if not graded.answers:
        return contents
    by_key = {question.id: question for question in questions}
    answered = [(by_key[a.prompt_id], a) for a in graded.answers if a.prompt_id in by_key]
    contents["responses.jsonl"] = json_lines(
        {"key": q.id, "prompt": q.text, "response": answer.text} | _reason(answer)
        for q, answer in answered
    )
    for rule in ("strict", "loose"):
        contents[f"eval_results_{rule}.jsonl"] = json_lines(
            _upstream_row(question, answer, getattr(outcomes[question.id], rule))
            for question, answer in answered
            if question.id in outcomes
        )
    return contents


def _upstream_row(
    question: ConstrainedPrompt, answer: Answer, followed: Sequence[bool]
) -> dict[str, Any]:
    return {
        "follow_all_instructions": all(followed),
        "follow_instruction_list": list(followed),
        "instruction_id_list": [constraint.kind for constraint in question.constraints],
        "prompt": question.text,
        "response": answer.text,
    }


def _reason(answer: Answer) -> dict[str, FinishReason]:
    return {"finish_reason": answer.finish_reason} if answer.finish_reason else {}


def _rows(path: Path) -> list[dict[str, Any]]:
    text = read_text(path, EXPECTED)
    if not text.lstrip().startswith("["):
        return parse_jsonl(str(path), text, EXPECTED)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON ({shorten(str(error))}); expected {EXPECTED}"
        ) from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {number} is {json_type(row)}; expected {EXPECTED}")
    return list(rows)


def _where(path: Path, number: int) -> str:
    return f"{path}: row {number}"


def _add_answer(
    contestant: ContestantRows, by_text: Mapping[str, ConstrainedPrompt], where: str, row: Row
) -> None:
    prompt, response = _texts(where, row)
    question = by_text.get(prompt.strip())
    if question is None:
        contestant.foreign.append(prompt)
        return
    if response is None:
        return
    reason = row.get("finish_reason")
    answer = Answer(question.id, response, reason if reason in ("stop", "length") else None)
    _count_repeat(contestant, contestant.answers.get(question.id), answer)
    contestant.answers[question.id] = answer


def _texts(where: str, row: Row) -> tuple[str, str | None]:
    """Return a row's prompt and response; None for a response that is null."""
    if isinstance(row.get("doc"), Mapping):
        response = row.get("resps")
        while isinstance(response, list) and response:
            response = response[0]
        row = {"prompt": row["doc"].get("prompt"), "response": response}
    elif "prompt" not in row and "instruction" in row:
        row = {"prompt": row["instruction"], "response": row.get("output")}
    keys = ("prompt",) if "response" in row and row["response"] is None else ("prompt", "response")
    if problem := row_problem(row, *keys):
        raise InputError(f"{where} does not fit ({problem}); expected {EXPECTED}")
    return row["prompt"], row["response"]


def _add_outcome(
    contestant: ContestantRows, by_key: Mapping[str, ConstrainedPrompt], where: str, row: Row
) -> None:
    key = str(row.get("key"))
    question = by_key.get(key)
    if question is None:
        contestant.foreign.append(key)
        return
    rules: dict[str, tuple[bool, ...]] = {}
    for rule in ("strict", "loose"):
        values = row.get(rule)
        if not isinstance(values, list) or not all(isinstance(value, bool) for value in values):
            raise InputError(f"{where}: {rule!r} is no list of booleans; expected {EXPECTED}")
        if len(values) != len(question.constraints):
            raise InputError(
                f"{where}: {rule!r} has {len(values)} verdicts, and prompt {key} has "
                f"{len(question.constraints)} constraints"
            )
        rules[rule] = tuple(values)
    outcome = Outcome(rules["strict"], rules["loose"])
    _count_repeat(contestant, contestant.outcomes.get(key), outcome)
    contestant.outcomes[key] = outcome


def _count_repeat(contestant: ContestantRows, earlier: object, later: object) -> None:
    contestant.repeated += earlier is not None
    contestant.conflicting += earlier not in (None, later)
