"""Arena-Hard's protocol data: questions, the baselines' answers, the judge's prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.benchmarks import arena_hard_files, assets
from harness.benchmarks.arena_hard_verdicts import GAMES
from harness.errors import AssetError, InputError
from harness.reading import read_lines
from harness.types import Answer, JudgeRequest, Message, Prompt

PLACES = ("QUESTION", "ANSWER_A", "ANSWER_B")


@lru_cache(maxsize=4)
def questions(path: Path) -> tuple[Prompt, ...]:
    """Return the questions in their published order, in either form.

    Raises:
        AssetError: the file is not what it should be.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return tuple(_prompt(row) for row in rows)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise AssetError(f"{path} cannot be read ({error})") from error


@lru_cache(maxsize=4)
def protocol(path: Path) -> dict[str, Any]:
    """Return the judge's texts.

    Raises:
        AssetError: the file is not what it should be.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} cannot be read ({error})") from error


@lru_cache(maxsize=8)
def answers_of(name: str, folder: str, root: Path) -> dict[str, str]:
    """Return a baseline's published answers by question.

    Raises:
        AssetError: they are missing or not what they should be.
    """
    path = assets.require(f"{folder}/model_answer/{name}.jsonl", root)
    try:
        found = read_lines(path, arena_hard_files.ANSWERS)
        return {
            arena_hard_files.question(path, row): arena_hard_files.said_of(path, row)[0]
            for row in found
        }
    except InputError as error:
        raise AssetError(str(error)) from error


def ask(
    prompt: Prompt,
    ours: Answer,
    theirs: Answer,
    system: str,
    template: str,
    parameters: Mapping[str, Any],
) -> Iterable[JudgeRequest]:
    """Return the two games: the baseline's answer first, then ours first."""
    for game, (first, second) in zip(GAMES, ((theirs, ours), (ours, theirs)), strict=True):
        user = filled(template, (prompt.text, first.text, second.text))
        messages = (Message("system", system), Message("user", user))
        yield JudgeRequest(prompt.id + game, messages, parameters)


def filled(template: str, values: Sequence[str]) -> str:
    """Put the question and the answers in their places; what they say is left as it is.

    Raises:
        AssetError: the template has not every place once.
    """
    text = template
    parts = []
    for place in PLACES:
        before, found, text = text.partition("{" + place + "}")
        if not found:
            raise AssetError(f"the judge's template has no place {{{place}}} where it should be")
        parts.append(before)
    joined = zip(parts, values, strict=True)
    return "".join(before + value for before, value in joined) + text


def _prompt(row: Mapping[str, Any]) -> Prompt:
    text = row["prompt"] if "prompt" in row else row["turns"][0]["content"]
    meta = {key: str(row[key]) for key in ("category", "subcategory", "cluster") if row.get(key)}
    return Prompt(str(row.get("uid") or row["question_id"]), (Message("user", str(text)),), meta)
