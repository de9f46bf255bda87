"""arena-hard-auto's files: answers, judgments and battles, in both published layouts.

*Old* rows (until April 2025) have `question_id`, answers in `choices[0].turns` and judgments as
text; *new* rows have `uid`, answers in `messages` and judgments as `{"answer": text}`. Migrated
files mix both, and are read as well. Battles hold rows instead of verdicts: a strong verdict takes
three. A game without a valid label is unparsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.benchmarks.arena_hard.verdicts import (
    GAME_SUFFIXES,
    LABEL_SCORES,
    LabelScores,
    parse_games,
    parse_label,
    prompt_id_of,
)
from harness.core.io import file_name, file_stem, json_lines, json_type, read_jsonl
from harness.core.seeds import digest
from harness.core.terminal import shorten
from harness.errors import InputError
from harness.types import Answer, Answers, Graded, Message, Prompt, Verdict

ANSWERS = "JSON lines with 'uid' and 'messages', or 'question_id' and 'choices'"
VERDICTS = "JSON lines of judgments (with 'games') or of battles (with 'winner')"
WIN_VALUES = {"model_a": 0.0, "tie": 0.5, "model_b": 1.0}
STRONG_WEIGHT = 3
MAX_NAME_LENGTH = 120
"""Characters of a label in a file name."""
UNKNOWN_JUDGE = "unknown judge"


def read_answers(path: Path, prompts: Sequence[Prompt]) -> list[Answers]:
    """Read an answers file; the last of several answers to a question counts, as upstream.

    Raises:
        InputError: the file cannot be read; a row has an unexpected form; a question is not the
            benchmark's; the file has no answers.
    """
    rows = read_jsonl(path, ANSWERS)
    answers = _answers(path, rows)
    known = {prompt.id for prompt in prompts}
    if unknown := sorted(set(answers) - known):
        raise InputError(
            f"{path}: {len(unknown)} of {len(answers)} questions are not this benchmark's, e.g. "
            f"{unknown[0]!r}: remove them, or name another benchmark with --bench"
        )
    if not answers:
        raise InputError(f"{path} has no answers; expected {ANSWERS}")
    matched = tuple(answers[p.id] for p in prompts if p.id in answers)
    return [Answers(_model_name(path, rows), matched, len(prompts) - len(matched))]


def read_verdicts(path: Path, label_scores: LabelScores = LABEL_SCORES) -> list[Graded]:
    """Read judgments or battles from a file, or from a directory's `.jsonl` files in their order.

    `label_scores` holds the valid labels. Answers in the directory are joined to the judgments of
    the same model.

    Raises:
        InputError: a file cannot be read; a row is neither; a judgment has no games.
    """
    paths = sorted(p for p in path.rglob("*.jsonl*") if p.is_file()) if path.is_dir() else [path]
    contestants: list[Graded] = []
    answers: dict[str, tuple[Answer, ...]] = {}
    for file in paths:
        rows = read_jsonl(file, VERDICTS)
        if not rows:
            raise InputError(f"{file} is empty; expected {VERDICTS}")
        if path.is_dir() and rows[0].keys() & {"messages", "choices"}:
            answers[_model_name(file, rows)] = tuple(_answers(file, rows).values())
        else:
            is_battles = "winner" in rows[0]
            contestants += (
                _read_battles(file, rows)
                if is_battles
                else _read_judgments(file, rows, label_scores)
            )
    return [
        replace(contestant, answers=_judged_answers(contestant, answers.get(contestant.label, ())))
        for contestant in contestants
    ]


def _judged_answers(graded: Graded, answers: Sequence[Answer]) -> tuple[Answer, ...]:
    judged = {prompt_id_of(verdict) for verdict in graded.verdicts}
    return tuple(answer for answer in answers if answer.prompt_id in judged)


def _answers(path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Answer]:
    """Return the answers by question id; the last of several counts, as upstream."""
    return {(name := question_id(path, row)): Answer(name, *read_answer(path, row)) for row in rows}


def _model_name(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    names = {str(row.get("model") or row.get("model_id") or file_stem(path)) for row in rows}
    return names.pop() if len(names) == 1 else file_stem(path)


def files(graded: Graded, system: Mapping[str, str]) -> dict[str, str]:
    """Return answers and judgments in both layouts, and battles, by file name.

    `system` maps prompt ids to the judge's system prompt; it is empty if that is unknown.
    """
    name, judge = (file_name(label)[:MAX_NAME_LENGTH] for label in (graded.label, graded.judge))
    texts = {f"model_judgment/{judge}/{name}.jsonl": json_lines(_new_judgments(graded, system))}
    texts[f"old/model_judgment/{judge}/{name}.jsonl"] = json_lines(_old_judgments(graded))
    texts["arena_hard_battles.jsonl"] = json_lines(battle_rows(graded))
    if graded.answers:
        texts[f"model_answer/{name}.jsonl"] = json_lines(_new_answers(graded))
        texts[f"old/model_answer/{name}.jsonl"] = json_lines(_old_answers(graded))
    return texts


def battle_rows(graded: Graded) -> list[dict[str, Any]]:
    """Return the games as battles; a strong verdict takes three rows."""
    names = {won: name for name, won in WIN_VALUES.items()}
    return [
        {
            "question_id": game.prompt_id,
            "model_a": graded.baseline_label,
            "model_b": graded.label,
            "winner": names[game.won],
        }
        for game in parse_games(graded.verdicts)
        for _ in range(game.weight)
    ]


def question_id(path: Path, row: Mapping[str, Any]) -> str:
    """Return the id of a row's question.

    Raises:
        InputError: the row has none.
    """
    identifier = row.get("uid") or row.get("question_id")
    if not isinstance(identifier, str):
        raise InputError(f"{path}: a row has neither 'uid' nor 'question_id'; expected {ANSWERS}")
    return identifier


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


@dataclass(frozen=True)
class _JudgmentKey:
    model: str
    judge: str
    baseline: str


def _read_judgments(
    path: Path, rows: Sequence[Mapping[str, Any]], label_scores: LabelScores
) -> list[Graded]:
    by_model: dict[_JudgmentKey, dict[str, Mapping[str, Any]]] = {}
    repeated = 0
    for row in rows:
        key = _JudgmentKey(
            str(row.get("model") or file_stem(path)),
            str(row.get("judge") or UNKNOWN_JUDGE),
            str(row.get("baseline") or "baseline"),
        )
        by_question = by_model.setdefault(key, {})
        repeated += question_id(path, row) in by_question
        by_question.pop(question_id(path, row), None)
        by_question[question_id(path, row)] = row
    repeat_note = (f"{repeated} judgments of {path.name} are repeated: the last of each counts",)
    return [
        Graded(
            label=key.model,
            judge=key.judge,
            answers=(),
            baseline=(),
            verdicts=tuple(
                v
                for name, row in by_question.items()
                for v in _verdicts(path, name, row, label_scores)
            ),
            baseline_label=key.baseline,
            notes=repeat_note if repeated else (),
        )
        for key, by_question in by_model.items()
    ]


def _verdicts(
    path: Path, name: str, row: Mapping[str, Any], label_scores: LabelScores
) -> list[Verdict]:
    game_rows = row.get("games")
    if not isinstance(game_rows, list) or not game_rows:
        raise InputError(f"{path}: the judgment of {name!r} has no games; expected {VERDICTS}")
    judge = str(row.get("judge") or UNKNOWN_JUDGE)
    return [
        Verdict(name + game, parse_label(_score(game_row), label_scores), judge, _text(game_row))
        for game, game_row in zip(GAME_SUFFIXES, game_rows, strict=False)
    ]


def _score(game: Any) -> str | None:
    score = game.get("score") if isinstance(game, Mapping) else None
    return score if isinstance(score, str) else None


def _text(game: Any) -> str:
    judgment = game.get("judgment") if isinstance(game, Mapping) else None
    text = judgment.get("answer") if isinstance(judgment, Mapping) else judgment
    return text.removeprefix("\n") if isinstance(text, str) else ""


def _read_battles(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Graded]:
    """Return the contestants of a battles file, with the rows in their order."""
    by_pair: dict[tuple[str, str], dict[str, list[float]]] = {}
    for number, row in enumerate(rows, start=1):
        won = WIN_VALUES.get(str(row.get("winner")))
        if won is None:
            winner = shorten(repr(row.get("winner")))
            raise InputError(
                f"{path}: row {number} has the winner {winner}; known: {list(WIN_VALUES)}"
            )
        pair = (str(row.get("model_a")), str(row.get("model_b")))
        by_pair.setdefault(pair, {}).setdefault(question_id(path, row), []).append(won)
    return [
        Graded(
            label=model,
            judge=UNKNOWN_JUDGE,
            answers=(),
            baseline=(),
            verdicts=tuple(v for name, won in outcomes.items() for v in _decode_games(name, won)),
            baseline_label=baseline,
        )
        for (baseline, model), outcomes in by_pair.items()
    ]


def _decode_games(name: str, won: Sequence[float]) -> Iterable[Verdict]:
    """Return the games of a prompt's rows: three equal rows, unless ties, are a strong verdict.

    The rows do not say which of the two games came first; where one was dropped, the other is
    taken for game 1.
    """
    start = game = 0
    while start < len(won):
        remaining = len(won) - start
        strong = (
            remaining != 2
            and won[start] != 0.5
            and len(set(won[start : start + STRONG_WEIGHT])) == 1
        )
        weight = STRONG_WEIGHT if strong and remaining >= STRONG_WEIGHT else 1
        suffix = GAME_SUFFIXES[0] if game == 0 else f"#{game + 1}"
        label = _label(1 - won[start] if game == 0 else won[start], weight)
        yield Verdict(name + suffix, parse_label(label, LABEL_SCORES), UNKNOWN_JUDGE)
        start, game = start + weight, game + 1


def _label(first_wins: float, weight: int) -> str:
    sign = ">" if weight == 1 else ">>"
    return {1.0: f"A{sign}B", 0.5: "A=B", 0.0: f"B{sign}A"}[first_wins]


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


def _new_judgments(graded: Graded, system: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "uid": name,
            "judge": graded.judge,
            "model": graded.label,
            "baseline": graded.baseline_label,
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


def _old_judgments(graded: Graded) -> list[dict[str, Any]]:
    return [
        {
            "question_id": name,
            "model": graded.label,
            "judge": graded.judge,
            "baseline": graded.baseline_label,
            "games": [{"judgment": f"\n{v.text}", "score": _verdict_label(v)} for v in verdicts],
        }
        for name, verdicts in _by_prompt(graded).items()
    ]


def _verdict_label(verdict: Verdict) -> str | None:
    return verdict.parsed.label if verdict.parsed else None
