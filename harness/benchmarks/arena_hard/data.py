"""Arena-Hard's protocol data: questions, the baselines' answers, the judge's prompts.

The judge's prompts are extracted from the settings file of arena-hard-auto's repository. v2.0 uses
v0.1's prompt; for creative writing the judge is not instructed to answer first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from harness.benchmarks import assets
from harness.benchmarks.arena_hard import files
from harness.benchmarks.arena_hard.verdicts import GAME_SUFFIXES
from harness.core.config import Component
from harness.core.io import read_jsonl
from harness.errors import AssetError, InputError
from harness.types import Answer, JudgeRequest, Message, Prompt

PATTERNS = (r"\[\[([AB<>=]+)\]\]", r"\[([AB<>=]+)\]")
PLACEHOLDERS = ("QUESTION", "ANSWER_A", "ANSWER_B")
UPSTREAM_PLACEHOLDERS = {
    "{question_1}": "{QUESTION}",
    "{answer_1}": "{ANSWER_A}",
    "{answer_2}": "{ANSWER_B}",
}
SOURCE = "lmarena/arena-hard-auto utils/judge_utils.py and config/arena-hard-{}.yaml (Apache-2.0)"
BASELINES = {"hard_prompt": "o3-mini-2025-01-31", "creative_writing": "gemini-2.0-flash-001"}
FILE_BASELINES = BASELINES | {
    **dict.fromkeys(("coding", "math"), BASELINES["hard_prompt"]),
    "arena-hard-v0.1": "gpt-4-0314",
}
"""Upstream's baselines by the category that a judgment names."""
OWN_ANSWER = (
    "Begin your evaluation by generating your own answer to the prompt. You must provide your "
    "answers before judging any answers.\n\n"
)
WITH_OWN = "answers with your answer."


class JudgeTextsV01(Component):
    """`protocol.json` of v0.1."""

    def convert(self, text: str) -> dict[str, Any]:
        """Return the protocol's texts from the text of `config/judge_config.yaml`."""
        system, template = _judge_texts(text)
        return {
            "source": SOURCE.format("v0.1"),
            "judge_model": "gpt-4-1106-preview",
            "baseline": "gpt-4-0314",
            "temperature": 0.0,
            "max_tokens": 4096,
            "system_prompt": system,
            "prompt_template": template,
            "verdict_pattern": PATTERNS[0],
        }


class JudgeTextsV2(Component):
    """`protocol.json` of v2.0."""

    def convert(self, text: str) -> dict[str, Any]:
        """Return the protocol's texts from the text of `config/judge_config.yaml`."""
        system, template = _judge_texts(text)
        creative = system.replace(OWN_ANSWER, "").replace(WITH_OWN, "answers.")
        hard = {"baseline": BASELINES["hard_prompt"], "system_prompt": system}
        writing = {"baseline": BASELINES["creative_writing"], "system_prompt": creative}
        return {
            "source": SOURCE.format("v2.0"),
            "judge_models": ["gpt-4.1", "gemini-2.5"],
            "temperature": 0.0,
            "max_tokens": 16000,
            "prompt_template": template,
            "verdict_patterns": list(PATTERNS),
            "categories": {name: hard for name in ("hard_prompt", "coding", "math")}
            | {"creative_writing": writing},
        }


def _judge_texts(text: str) -> tuple[str, str]:
    """Return the judge's system prompt and the user template."""
    try:
        settings = yaml.safe_load(text)
        system, template = settings["system_prompt"], settings["prompt_template"][0]
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise AssetError(f"the settings file has an unexpected form ({error!r})") from error
    for theirs, ours in UPSTREAM_PLACEHOLDERS.items():
        template = template.replace(theirs, ours)
    return str(system), str(template)


@lru_cache(maxsize=4)
def questions(path: Path) -> tuple[Prompt, ...]:
    """Return the questions in their published order; both published layouts are read.

    Raises:
        AssetError: the file cannot be read.
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
        AssetError: the file cannot be read.
    """
    try:
        payload: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return payload
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} cannot be read ({error})") from error


@lru_cache(maxsize=8)
def published_answers(name: str, folder: str, root: Path) -> dict[str, str]:
    """Return a baseline's published answers by question id.

    Raises:
        AssetError: the answers are missing or cannot be read.
    """
    path = assets.require(f"{folder}/model_answer/{name}.jsonl", root)
    try:
        rows = read_jsonl(path, files.ANSWERS)
        return {files.question_id(path, row): files.read_answer(path, row)[0] for row in rows}
    except InputError as error:
        raise AssetError(str(error)) from error


def load_protocol(version: str, root: Path) -> dict[str, Any]:
    """Return the judge's texts of a version, which names its asset set.

    Raises:
        AssetError: the file is missing, or is not the published one.
    """
    return protocol(assets.require(f"{version}/protocol.json", root))


def load_questions(version: str, root: Path) -> tuple[Prompt, ...]:
    """Return the questions of a version in their published order.

    Raises:
        AssetError: the file is missing, or is not the published one.
    """
    return questions(assets.require(f"{version}/question.jsonl", root))


def game_requests(
    prompt: Prompt,
    ours: Answer,
    theirs: Answer,
    system: str,
    template: str,
    parameters: Mapping[str, Any],
) -> Iterable[JudgeRequest]:
    """Return the two games: the baseline's answer first, then ours first."""
    for game, (first, second) in zip(GAME_SUFFIXES, ((theirs, ours), (ours, theirs)), strict=True):
        user = fill_template(template, (prompt.text, first.text, second.text))
        messages = (Message("system", system), Message("user", user))
        yield JudgeRequest(prompt.id + game, messages, parameters)


def fill_template(template: str, values: Sequence[str]) -> str:
    """Insert the question and the answers; placeholders inside them are left as they are.

    Raises:
        AssetError: a placeholder is missing, or they are in another order.
    """
    text = template
    parts = []
    for placeholder in PLACEHOLDERS:
        before, separator, text = text.partition("{" + placeholder + "}")
        if not separator:
            raise AssetError(f"the judge's template has no {{{placeholder}}} where it should be")
        parts.append(before)
    segments = zip(parts, values, strict=True)
    return "".join(before + value for before, value in segments) + text


def _prompt(row: Mapping[str, Any]) -> Prompt:
    text = row["prompt"] if "prompt" in row else row["turns"][0]["content"]
    meta = {key: str(row[key]) for key in ("category", "subcategory", "cluster") if row.get(key)}
    return Prompt(str(row.get("uid") or row["question_id"]), (Message("user", str(text)),), meta)
