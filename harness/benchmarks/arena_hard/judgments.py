"""arena-hard-auto's judgments and battles, in both published layouts, with the answers beside them.

Migrated files mix the layouts (see `files`), and are read as well. Battles hold rows instead of
verdicts: a strong verdict takes three. A game without a valid label is unparsed.

A directory is read as upstream lays it out: `model_judgment/JUDGE/MODEL.jsonl`, and beside it
`model_answer/MODEL.jsonl`, where the answers of the contestants and of their baselines are found,
also if only `model_judgment`, one judge's directory or one file is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.benchmarks.arena_hard import files
from harness.benchmarks.arena_hard.files import question_id
from harness.benchmarks.arena_hard.verdicts import (
    GAME_SUFFIXES,
    LABEL_SCORES,
    LabelScores,
    parse_label,
    prompt_id_of,
)
from harness.core.io import file_stem, read_jsonl
from harness.core.tables import read_lines
from harness.core.terminal import shorten
from harness.errors import InputError
from harness.types import Answer, Graded, Verdict

VERDICTS = "JSON lines of judgments (with 'games') or of battles (with 'winner')"
ANSWER_DIRECTORY, JUDGMENT_DIRECTORY = "model_answer", "model_judgment"
STRONG_WEIGHT = 3
UNKNOWN_JUDGE = "unknown judge"

Row = Mapping[str, Any]
BaselineRule = Callable[[str, Row], str]
"""The protocol's baseline for a question's id and its judgment, which need not name one."""


@dataclass(frozen=True)
class Judgments:
    """A contestant's verdicts, and whose answers each of its answers was compared with."""

    graded: Graded
    baselines: Mapping[str, str]
    """By question id, the name of the baseline."""


@dataclass
class _AnswerFiles:
    """Files of answers by model: as the file is called, as upstream, or else as its rows say."""

    paths: dict[str, Path] = field(default_factory=dict)
    _names: dict[str, Path] | None = None
    _answers: dict[str, Mapping[str, Answer]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        self.paths[file_stem(path)] = path

    def of(self, model: str) -> Mapping[str, Answer]:
        """Return a model's answers by question id; none if there is no file."""
        if model not in self._answers:
            path = self.paths.get(model) or self._by_name().get(model)
            rows = read_jsonl(path, files.ANSWERS) if path else []
            self._answers[model] = files.answers_of(path, rows) if path else {}
        return self._answers[model]

    def _by_name(self) -> Mapping[str, Path]:
        if self._names is None:
            paths = self.paths.values()
            self._names = {files.model_name(p, read_jsonl(p, files.ANSWERS)): p for p in paths}
        return self._names


def read_verdicts(
    path: Path, baseline_of: BaselineRule, label_scores: LabelScores = LABEL_SCORES
) -> list[Judgments]:
    """Read judgments or battles from a file, or from a directory's `.jsonl` files in their order.

    Answers of the contestant and of its baselines, in the directory or in upstream's
    `model_answer` beside the judgments, are joined to them.

    Args:
        path: the file or directory.
        baseline_of: the protocol's baselines. Judgments against them are one contestant, whether
            or not they name them; those against another baseline are another.
        label_scores: the valid labels.

    Raises:
        InputError: a file cannot be read; a row is neither; a judgment has no games.
    """
    contestants: list[Judgments] = []
    answers = _AnswerFiles()
    for file in _answer_paths(path):
        answers.add(file)
    for file in _verdict_paths(path):
        rows = read_lines(file, VERDICTS)
        if not rows:
            raise InputError(f"{file} is empty; expected {VERDICTS}")
        if path.is_dir() and _is_answers(rows[0]):
            answers.add(file)
        elif "winner" in rows[0]:
            contestants += _read_battles(file, rows, baseline_of)
        elif not (path.is_dir() and _is_question(rows[0])):
            contestants += _read_judgments(file, rows, baseline_of, label_scores)
    return [_with_answers(contestant, answers) for contestant in contestants]


def _answer_paths(path: Path) -> list[Path]:
    """Return the files in `model_answer`, below a directory or beside its `model_judgment`."""
    location = path.absolute()
    lineage = (location, *location.parents)
    beside = [d.with_name(ANSWER_DIRECTORY) for d in lineage if d.name == JUDGMENT_DIRECTORY]
    roots = [*beside[:1], *([path] if path.is_dir() else [])]
    paths = {p for root in roots for p in _lines_files(root) if p.parent.name == ANSWER_DIRECTORY}
    return sorted(paths)


def _verdict_paths(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [p for p in _lines_files(path) if p.parent.name != ANSWER_DIRECTORY]


def _lines_files(directory: Path) -> list[Path]:
    paths = (p for p in directory.rglob("*.jsonl*") if p.is_file() and not p.name.startswith("."))
    return sorted(paths)


def _is_answers(row: Row) -> bool:
    return bool(row.keys() & {"messages", "choices"})


def _is_question(row: Row) -> bool:
    """Say whether a row is of upstream's `question.jsonl`, which lies in the same directory."""
    return bool(row.keys() & {"prompt", "turns"}) and not row.keys() & {"games", "winner"}


def _with_answers(contestant: Judgments, answers: _AnswerFiles) -> Judgments:
    graded = contestant.graded
    judged = dict.fromkeys(prompt_id_of(verdict) for verdict in graded.verdicts)
    ours = answers.of(graded.label)
    theirs = {name: answers.of(contestant.baselines[name]) for name in judged}
    return replace(
        contestant,
        graded=replace(
            graded,
            answers=tuple(answer for name, answer in ours.items() if name in judged),
            baseline=tuple(theirs[name][name] for name in judged if name in theirs[name]),
        ),
    )


def _read_judgments(
    path: Path, rows: Sequence[Row], baseline_of: BaselineRule, label_scores: LabelScores
) -> list[Judgments]:
    by_contestant: dict[tuple[str, str, str], dict[str, Row]] = {}
    baselines: dict[tuple[str, str, str], dict[str, str]] = {}
    repeated = 0
    for row in rows:
        name = question_id(path, row)
        other, baseline = _baseline(baseline_of, name, row, row.get("baseline"))
        key = (str(row.get("model") or file_stem(path)), _judge(row), other)
        by_question = by_contestant.setdefault(key, {})
        repeated += name in by_question
        by_question.pop(name, None)
        by_question[name] = row
        baselines.setdefault(key, {})[name] = baseline
    repeat_note = (f"{repeated} judgments of {path.name} are repeated: the last of each counts",)
    return [
        _judgments(
            label,
            judge,
            [v for n, row in by_question.items() for v in _verdicts(path, n, row, label_scores)],
            baselines[label, judge, other],
            repeat_note if repeated else (),
        )
        for (label, judge, other), by_question in by_contestant.items()
    ]


def _baseline(baseline_of: BaselineRule, name: str, row: Row, explicit: object) -> tuple[str, str]:
    """Return the baseline by which contestants are distinguished, and the baseline.

    The first is empty for the protocol's own.
    """
    official = baseline_of(name, row)
    baseline = str(explicit or official)
    return ("" if baseline == official else baseline), baseline


def _judgments(
    label: str,
    judge: str,
    verdicts: Sequence[Verdict],
    baselines: Mapping[str, str],
    notes: tuple[str, ...] = (),
) -> Judgments:
    commonest = Counter(baselines.values()).most_common(1)[0][0]
    graded = Graded(label, judge, (), (), tuple(verdicts), (), commonest, notes)
    return Judgments(graded, baselines)


def _judge(row: Row) -> str:
    return str(row.get("judge") or UNKNOWN_JUDGE)


def _verdicts(path: Path, name: str, row: Row, label_scores: LabelScores) -> list[Verdict]:
    game_rows = row.get("games")
    if not isinstance(game_rows, list) or not game_rows:
        raise InputError(f"{path}: the judgment of {name!r} has no games; expected {VERDICTS}")
    return [
        Verdict(
            name + game,
            parse_label(_score(game_row), label_scores),
            _judge(row),
            _text(game_row),
        )
        for game, game_row in zip(GAME_SUFFIXES, game_rows, strict=False)
    ]


def _score(game: Any) -> str | None:
    score = game.get("score") if isinstance(game, Mapping) else None
    return score if isinstance(score, str) else None


def _text(game: Any) -> str:
    judgment = game.get("judgment") if isinstance(game, Mapping) else None
    text = judgment.get("answer") if isinstance(judgment, Mapping) else judgment
    return text.removeprefix("\n") if isinstance(text, str) else ""


def _read_battles(path: Path, rows: Sequence[Row], baseline_of: BaselineRule) -> list[Judgments]:
    """Return the contestants of a battles file, with the rows in their order."""
    by_contestant: dict[tuple[str, str], dict[str, list[float]]] = {}
    baselines: dict[tuple[str, str], dict[str, str]] = {}
    for number, row in enumerate(rows, start=1):
        won = files.WIN_VALUES.get(str(row.get("winner")))
        if won is None:
            winner = shorten(repr(row.get("winner")))
            raise InputError(
                f"{path}: row {number} has the winner {winner}; known: {list(files.WIN_VALUES)}"
            )
        name = question_id(path, row)
        other, baseline = _baseline(baseline_of, name, row, row.get("model_a"))
        key = (other, str(row.get("model_b")))
        by_contestant.setdefault(key, {}).setdefault(name, []).append(won)
        baselines.setdefault(key, {})[name] = baseline
    return [
        _judgments(
            label,
            UNKNOWN_JUDGE,
            [verdict for name, won in outcomes.items() for verdict in _decode_games(name, won)],
            baselines[other, label],
        )
        for (other, label), outcomes in by_contestant.items()
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
