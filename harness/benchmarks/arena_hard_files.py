"""arena-hard-auto's files: answers, judgments, battles, as they were until April 2025 and since.

*Old* rows carry `question_id`, answers `choices[0].turns`, judgments text; *new* ones `uid`,
answers `messages`, judgments `{"answer": text}`; migrated files mix both, and are read all the
same. Battles hold no verdicts but rows: a strong verdict is three. A game without a label that
counts is unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.benchmarks.arena_hard_verdicts import GAMES, WORTH, Worth, games, prompt_of, reading
from harness.errors import InputError
from harness.reading import kind, read_lines, shown, stem
from harness.seeds import digest
from harness.types import Answer, Answers, Graded, Message, Prompt, Verdict

ANSWERS = "JSON lines with 'uid' and 'messages', or 'question_id' and 'choices'"
VERDICTS = "JSON lines of judgments (with 'games') or of battles (with 'winner')"
WON = {"model_a": 0.0, "tie": 0.5, "model_b": 1.0}
STRONG = 3


def read_answers(path: Path, prompts: Sequence[Prompt]) -> list[Answers]:
    """Read an answers file; where a question is answered twice the last counts, as upstream.

    Raises:
        InputError: the file cannot be read; a row has another form; a question is not asked here;
            nothing is answered.
    """
    rows = read_lines(path, ANSWERS)
    said = _answers(path, rows)
    known = {prompt.id for prompt in prompts}
    if unknown := sorted(set(said) - known):
        raise InputError(
            f"{path}: {len(unknown)} of {len(said)} questions are not this benchmark's, e.g. "
            f"{unknown[0]!r}: remove them, or name another benchmark with --bench"
        )
    if not said:
        raise InputError(f"{path} answers nothing; expected {ANSWERS}")
    found = tuple(said[p.id] for p in prompts if p.id in said)
    return [Answers(_model(path, rows), found, len(prompts) - len(found))]


def read_verdicts(path: Path, worth: Worth = WORTH) -> list[Graded]:
    """Read judgments or battles, of one file or of a folder's `.jsonl` files in their order.

    `worth` knows the labels that count. Answers that lie in the folder are put beside the judgments
    of the same model.

    Raises:
        InputError: a file cannot be read; a row is neither; a judgment has no games.
    """
    paths = sorted(p for p in path.rglob("*.jsonl*") if p.is_file()) if path.is_dir() else [path]
    found: list[Graded] = []
    said: dict[str, tuple[Answer, ...]] = {}
    for file in paths:
        rows = read_lines(file, VERDICTS)
        if not rows:
            raise InputError(f"{file} is empty; expected {VERDICTS}")
        if path.is_dir() and rows[0].keys() & {"messages", "choices"}:
            said[_model(file, rows)] = tuple(_answers(file, rows).values())
        else:
            battles = "winner" in rows[0]
            found += _battles(file, rows) if battles else _judgments(file, rows, worth)
    return [replace(one, answers=_answering(one, said.get(one.label, ()))) for one in found]


def _answering(graded: Graded, said: Sequence[Answer]) -> tuple[Answer, ...]:
    """Return the answers that were judged."""
    judged = {prompt_of(verdict) for verdict in graded.verdicts}
    return tuple(answer for answer in said if answer.prompt_id in judged)


def _answers(path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Answer]:
    """Return the answers by question; of two the last counts, as upstream."""
    return {(name := question(path, row)): Answer(name, *said_of(path, row)) for row in rows}


def _model(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    names = {str(row.get("model") or row.get("model_id") or stem(path)) for row in rows}
    return names.pop() if len(names) == 1 else stem(path)


def files(graded: Graded, system: Mapping[str, str]) -> dict[str, str]:
    """Return answers and judgments in both forms, and battles.

    `system` is the judge's system prompt by prompt id; empty where it is not known.
    """
    name, judge = file_name(graded.label), file_name(graded.judge)
    found = {f"model_judgment/{judge}/{name}.jsonl": _lines(_new_judgments(graded, system))}
    found[f"old/model_judgment/{judge}/{name}.jsonl"] = _lines(_old_judgments(graded))
    found["arena_hard_battles.jsonl"] = _lines(battle_rows(graded))
    if graded.answers:
        found[f"model_answer/{name}.jsonl"] = _lines(_new_answers(graded))
        found[f"old/model_answer/{name}.jsonl"] = _lines(_old_answers(graded))
    return found


def battle_rows(graded: Graded) -> list[dict[str, Any]]:
    """Return the games as battles, a strong one three times."""
    names = {won: name for name, won in WON.items()}
    return [
        {
            "question_id": game.prompt_id,
            "model_a": graded.baseline_label,
            "model_b": graded.label,
            "winner": names[game.won],
        }
        for game in games(graded.verdicts)
        for _ in range(game.weight)
    ]


def question(path: Path, row: Mapping[str, Any]) -> str:
    """Return the id of the question that a row is about."""
    found = row.get("uid") or row.get("question_id")
    if not isinstance(found, str):
        raise InputError(f"{path}: a row has neither 'uid' nor 'question_id'; expected {ANSWERS}")
    return found


def said_of(path: Path, row: Mapping[str, Any]) -> tuple[str, Any]:
    """Return an answer's text and how it ended (None where the row does not tell)."""
    try:
        if "messages" in row:
            content = row["messages"][-1]["content"]
            text = content["answer"] if isinstance(content, Mapping) else content
        else:
            text = row["choices"][0]["turns"][0]["content"]
    except (LookupError, TypeError) as error:
        raise InputError(
            f"{path}: the answer to {question(path, row)!r} has another form ({error!r}); "
            f"expected {ANSWERS}"
        ) from error
    if not isinstance(text, str):
        raise InputError(f"{path}: the answer to {question(path, row)!r} is {kind(text)}, not text")
    return text, row.get("finish_reason")


def file_name(label: str) -> str:
    """Return a label as a file's name that stays in its folder."""
    name = quote(label, safe=" +,@()=", errors="replace")
    return re.sub(r"^\.", "%2E", name)[:120]


@dataclass(frozen=True)
class _Contestant:
    model: str
    judge: str
    baseline: str


def _judgments(path: Path, rows: Sequence[Mapping[str, Any]], worth: Worth) -> list[Graded]:
    by_model: dict[_Contestant, dict[str, Mapping[str, Any]]] = {}
    doubled = 0
    for row in rows:
        who = _Contestant(
            str(row.get("model") or stem(path)),
            str(row.get("judge") or "unknown judge"),
            str(row.get("baseline") or "baseline"),
        )
        own = by_model.setdefault(who, {})
        doubled += question(path, row) in own
        own.pop(question(path, row), None)
        own[question(path, row)] = row
    told = (f"{doubled} judgments of {path.name} were there twice: the last counts",)
    return [
        Graded(
            label=who.model,
            judge=who.judge,
            answers=(),
            baseline=(),
            verdicts=tuple(
                v for name, row in own.items() for v in _verdicts(path, name, row, worth)
            ),
            baseline_label=who.baseline,
            notes=told if doubled else (),
        )
        for who, own in by_model.items()
    ]


def _verdicts(path: Path, name: str, row: Mapping[str, Any], worth: Worth) -> list[Verdict]:
    played = row.get("games")
    if not isinstance(played, list) or not played:
        raise InputError(f"{path}: the judgment of {name!r} has no games; expected {VERDICTS}")
    judge = str(row.get("judge") or "unknown judge")
    return [
        Verdict(name + game, reading(_score(one), worth), judge, _text(one))
        for game, one in zip(GAMES, played, strict=False)
    ]


def _score(game: Any) -> str | None:
    score = game.get("score") if isinstance(game, Mapping) else None
    return score if isinstance(score, str) else None


def _text(game: Any) -> str:
    told = game.get("judgment") if isinstance(game, Mapping) else None
    text = told.get("answer") if isinstance(told, Mapping) else told
    return text.removeprefix("\n") if isinstance(text, str) else ""


def _battles(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Graded]:
    """Return the contestants of a battles file; their rows keep their order."""
    by_pair: dict[tuple[str, str], dict[str, list[float]]] = {}
    for number, row in enumerate(rows, start=1):
        won = WON.get(str(row.get("winner")))
        if won is None:
            told = shown(repr(row.get("winner")))
            raise InputError(f"{path}: row {number} has {told} as its winner; known: {list(WON)}")
        pair = (str(row.get("model_a")), str(row.get("model_b")))
        by_pair.setdefault(pair, {}).setdefault(question(path, row), []).append(won)
    return [
        Graded(
            label=model,
            judge="unknown judge",
            answers=(),
            baseline=(),
            verdicts=tuple(v for name, won in own.items() for v in _decoded(name, won)),
            baseline_label=baseline,
        )
        for (baseline, model), own in by_pair.items()
    ]


def _decoded(name: str, won: Sequence[float]) -> Iterable[Verdict]:
    """Return the games of a prompt's rows: three equal ones that no tie is are a strong verdict.

    Which of the two games was played first is not in the rows; where one was dropped, the other is
    taken for game 1.
    """
    at = game = 0
    while at < len(won):
        rest = len(won) - at
        strong = rest != 2 and won[at] != 0.5 and len(set(won[at : at + STRONG])) == 1
        weight = STRONG if strong and rest >= STRONG else 1
        first = GAMES[0] if game == 0 else f"#{game + 1}"
        label = _label(1 - won[at] if game == 0 else won[at], weight)
        yield Verdict(name + first, reading(label, WORTH), "unknown judge")
        at, game = at + weight, game + 1


def _label(first_wins: float, weight: int) -> str:
    sign = ">" if weight == 1 else ">>"
    return {1.0: f"A{sign}B", 0.5: "A=B", 0.0: f"B{sign}A"}[first_wins]


def _prompts(graded: Graded) -> dict[str, Prompt]:
    return {prompt.id: prompt for prompt in graded.prompts}


def _ended(answer: Answer) -> dict[str, str]:
    return {"finish_reason": answer.finish_reason} if answer.finish_reason else {}


def _new_answers(graded: Graded) -> list[dict[str, Any]]:
    asked = _prompts(graded)
    return [
        {
            "uid": a.prompt_id,
            "ans_id": digest([graded.label, a.prompt_id, a.text])[:22],
            "model": graded.label,
            "messages": [
                *_turns(asked[a.prompt_id].messages if a.prompt_id in asked else ()),
                {"role": "assistant", "content": {"answer": a.text}},
            ],
            **_ended(a),
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
            **_ended(a),
        }
        for a in graded.answers
    ]


def _turns(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


def _by_prompt(graded: Graded) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for verdict in graded.verdicts:
        found.setdefault(prompt_of(verdict), []).append(verdict)
    return found


def _new_judgments(graded: Graded, system: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "uid": name,
            "judge": graded.judge,
            "model": graded.label,
            "baseline": graded.baseline_label,
            "games": [
                {"score": _told(v), "judgment": {"answer": v.text}, **_system(system, name)}
                for v in verdicts
            ],
        }
        for name, verdicts in _by_prompt(graded).items()
    ]


def _system(system: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return the judge's system prompt as upstream keeps what was asked, where it is known."""
    return {"prompt": [{"role": "system", "content": system[name]}]} if name in system else {}


def _old_judgments(graded: Graded) -> list[dict[str, Any]]:
    return [
        {
            "question_id": name,
            "model": graded.label,
            "judge": graded.judge,
            "baseline": graded.baseline_label,
            "games": [{"judgment": f"\n{v.text}", "score": _told(v)} for v in verdicts],
        }
        for name, verdicts in _by_prompt(graded).items()
    ]


def _told(verdict: Verdict) -> str | None:
    return verdict.reading.label if verdict.reading else None


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
