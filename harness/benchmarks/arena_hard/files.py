"""arena-hard-auto's files: answers are read, and answers, judgments and battles are written.

*Old* rows (until April 2025) have `question_id`, answers in `choices[0].turns` and judgments as
text; *new* rows have `uid`, answers in `messages` and judgments as `{"answer": text}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.benchmarks.arena_hard.verdicts import parse_games, prompt_id_of
from harness.core.io import file_name, file_stem, json_lines, json_type
from harness.core.seeds import digest
from harness.core.tables import read_lines
from harness.errors import InputError
from harness.types import Answer, Answers, Graded, Message, Prompt, Verdict

ANSWERS = "JSON lines with 'uid' and 'messages', or 'question_id' and 'choices'"
WIN_VALUES = {"model_a": 0.0, "tie": 0.5, "model_b": 1.0}
MAX_NAME_LENGTH = 120
"""Characters of a label in a file name."""


def read_answers(path: Path, prompts: Sequence[Prompt]) -> list[Answers]:
    """Read an answers file; the last of several answers to a question counts, as upstream.

    Raises:
        InputError: the file cannot be read; a row has an unexpected form; a question is not the
            benchmark's; the file has no answers.
    """
    rows = read_lines(path, ANSWERS)
    answers = answers_of(path, rows)
    known = {prompt.id for prompt in prompts}
    if unknown := sorted(set(answers) - known):
        raise InputError(
            f"{path}: {len(unknown)} of {len(answers)} questions are not this benchmark's, e.g. "
            f"{unknown[0]!r}: remove them, or name another benchmark with --bench"
        )
    if not answers:
        raise InputError(f"{path} has no answers; expected {ANSWERS}")
    matched = tuple(answers[p.id] for p in prompts if p.id in answers)
    missing = len(prompts) - len(matched)
    return [Answers(model_name(path, rows), matched, missing, _altered(path, rows, prompts))]


def _altered(
    path: Path, rows: Sequence[Mapping[str, Any]], prompts: Sequence[Prompt]
) -> tuple[str, ...]:
    """Return the ids of questions that rows quote in another text."""
    texts = {prompt.id: prompt.text.strip() for prompt in prompts}
    quoted = {question_id(path, row): _quoted(row) for row in rows}
    return tuple(n for n, text in quoted.items() if text is not None and text != texts[n])


def _quoted(row: Mapping[str, Any]) -> str | None:
    """Return the question in a row of the new layout; None if it holds none."""
    messages = row.get("messages")
    turns = [m for m in messages if isinstance(m, Mapping)] if isinstance(messages, list) else []
    texts = [turn.get("content") for turn in turns if turn.get("role") == "user"]
    return texts[-1].strip() if texts and isinstance(texts[-1], str) else None


def answers_of(path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Answer]:
    """Return the answers of a file's rows by question id; the last of several counts, as upstream.

    Raises:
        InputError: a row has no question, or its answer an unexpected form.
    """
    return {(name := question_id(path, row)): Answer(name, *read_answer(path, row)) for row in rows}


def model_name(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the model of a file of answers: as all its rows name it, or else the file's name."""
    names = {str(row.get("model") or row.get("model_id") or file_stem(path)) for row in rows}
    return names.pop() if len(names) == 1 else file_stem(path)


def files(
    graded: Graded, system: Mapping[str, str], baselines: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return answers and judgments in both layouts, and battles, by file name.

    Args:
        graded: the contestant.
        system: by prompt id, the judge's system prompt; empty if that is unknown.
        baselines: by prompt id, the baseline where it is not the contestant's only one.
    """
    name, judge = (file_name(label)[:MAX_NAME_LENGTH] for label in (graded.label, graded.judge))
    texts = {
        f"model_judgment/{judge}/{name}.jsonl": json_lines(
            _new_judgments(graded, system, baselines)
        )
    }
    texts[f"old/model_judgment/{judge}/{name}.jsonl"] = json_lines(
        _old_judgments(graded, baselines)
    )
    texts["arena_hard_battles.jsonl"] = json_lines(battle_rows(graded, baselines))
    if graded.answers:
        texts[f"model_answer/{name}.jsonl"] = json_lines(_new_answers(graded))
        texts[f"old/model_answer/{name}.jsonl"] = json_lines(_old_answers(graded))
    return texts


def battle_rows(
    graded: Graded, baselines: Mapping[str, str] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Return the games as battles; a strong verdict takes three rows."""
    names = {won: name for name, won in WIN_VALUES.items()}
    return [
        {
            "question_id": game.prompt_id,
            "model_a": baselines.get(game.prompt_id, graded.baseline_label),
            "model_b": graded.label,
            "winner": names[game.won],
        }
        for game in parse_games(graded.verdicts)
        for _ in range(game.weight)
    ]


def question_id(path: Path, row: Mapping[str, Any]) -> str:
    """Return the id of a row's question; a whole number, as forks have it, is written out.

    Raises:
        InputError: the row has none.
    """
    identifiers = [row[key] for key in ("uid", "question_id") if row.get(key) not in (None, "")]
    if not identifiers:
        raise InputError(f"{path}: a row has neither 'uid' nor 'question_id'; expected {ANSWERS}")
    identifier = identifiers[0]
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        raise InputError(
            f"{path}: a row's question is {json_type(identifier)}, not text or a whole number; "
            f"expected {ANSWERS}"
        )
    return str(identifier)


def read_answer(path: Path, row: Mapping[str, Any]) -> tuple[str, Any]:
    """Return an answer's text and its finish reason (None if the row has none).

    Raises:
        InputError: the answer has an unexpected form.
    """
    try:
        if "messages" in row:
            content = row["messages"][-1]["content"]
            text = content["answer"] if isinstance(content, Mapping) else content
        else:
            text = row["choices"][0]["turns"][0]["content"]
    except (LookupError, TypeError) as error:
        raise InputError(
            f"{path}: the answer to {question_id(path, row)!r} has an unexpected form ({error!r}); "
            f"expected {ANSWERS}"
        ) from error
    if not isinstance(text, str):
        raise InputError(
            f"{path}: the answer to {question_id(path, row)!r} is {json_type(text)}, not text"
        )
    return text, row.get("finish_reason")


def _prompts(graded: Graded) -> dict[str, Prompt]:
    return {prompt.id: prompt for prompt in graded.prompts}


def _finish_reason(answer: Answer) -> dict[str, str]:
    return {"finish_reason": answer.finish_reason} if answer.finish_reason else {}


def _new_answers(graded: Graded) -> list[dict[str, Any]]:
    prompts = _prompts(graded)
    return [
        {
            "uid": a.prompt_id,
            "ans_id": digest([graded.label, a.prompt_id, a.text])[:22],
            "model": graded.label,
            "messages": [
                *_turns(prompts[a.prompt_id].messages if a.prompt_id in prompts else ()),
                {"role": "assistant", "content": {"answer": a.text}},
            ],
            **_finish_reason(a),
        }
        for a in graded.answers
    ]


def _old_answers(graded: Graded) -> list[dict[str, Any]]:
    return [
        {
            "question_id": a.prompt_id,
            "answer_id": digest([graded.label, a.prompt_id, a.text])[:22],
            "model_id": graded.label,
            "choices": [{"index": 0, "turns": [{"content": a.text}]}],
            **_finish_reason(a),
        }
        for a in graded.answers
    ]


def _turns(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [m.as_dict() for m in messages]


def _by_prompt(graded: Graded) -> dict[str, list[Verdict]]:
    verdicts: dict[str, list[Verdict]] = {}
    for verdict in graded.verdicts:
        verdicts.setdefault(prompt_id_of(verdict), []).append(verdict)
    return verdicts


def _new_judgments(
    graded: Graded, system: Mapping[str, str], baselines: Mapping[str, str]
) -> list[dict[str, Any]]:
    return [
        {
            "uid": name,
            "judge": graded.judge,
            "model": graded.label,
            "baseline": baselines.get(name, graded.baseline_label),
            "games": [
                {
                    "score": _verdict_label(v),
                    "judgment": {"answer": v.text},
                    **_system(system, name),
                }
                for v in verdicts
            ],
        }
        for name, verdicts in _by_prompt(graded).items()
    ]


def _system(system: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return the judge's system prompt in upstream's form, if it is known."""
    return {"prompt": [{"role": "system", "content": system[name]}]} if name in system else {}


def _old_judgments(graded: Graded, baselines: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "question_id": name,
            "model": graded.label,
            "judge": graded.judge,
            "baseline": baselines.get(name, graded.baseline_label),
            "games": [{"judgment": f"\n{v.text}", "score": _verdict_label(v)} for v in verdicts],
        }
        for name, verdicts in _by_prompt(graded).items()
    ]


def _verdict_label(verdict: Verdict) -> str | None:
    return verdict.parsed.label if verdict.parsed else None
