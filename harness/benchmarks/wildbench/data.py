"""WildBench's protocol data: conversations with checklists and tags, and the judge's templates.

The conversations are on the hub only (allenai/WildBench, config v2); `harness assets pull
wildbench` writes them as `tasks.json`. The templates come from the official repository, or from the
copy in the protocol data's `protocol.json`; either way their sha256 is checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.core.config import Component
from harness.core.io import read_json, text_sha256
from harness.core.seeds import digest
from harness.errors import AssetError
from harness.types import Message, Prompt

FOLDER = "wildbench"
TASKS = "tasks.json"
COUNT = 1024
IDS_DIGEST = "a0ede35c5fa6966606bbf7726075407ca81ed96e803458a56890c3c757982076"
"""The digest of the sorted ids of the 1,024 conversations."""
TEMPLATES = {
    "score": (
        "eval_template.score.v2.md",
        "c5984ae77b009f8dad0e8e37093348345f4e8d3099ce812bd7799ef7b73f005f",
    ),
    "pairwise": (
        "eval_template.pairwise.v2.md",
        "ccd57bd8c4c73f4f83cf8963ef3c2697c1c7b9e907ead91e0d0512cca4ae7a11",
    ),
}
"""File and sha256 of each template."""
WEIGHTS = {
    "Creative Tasks": 0.5,
    "Planning & Reasoning": 1.25,
    "Math & Data Analysis": 1,
    "Information/Advice seeking": 0.75,
    "Coding & Debugging": 1.25,
}
"""The weight of each task group in the leaderboard's figure."""
GROUPS = {
    "Information seeking": "Information/Advice seeking",
    "Creative Writing": "Creative Tasks",
    "Coding & Debugging": "Coding & Debugging",
    "Reasoning": "Planning & Reasoning",
    "Editing": "Creative Tasks",
    "Math": "Math & Data Analysis",
    "Planning": "Planning & Reasoning",
    "Brainstorming": "Creative Tasks",
    "Role playing": "Creative Tasks",
    "Advice seeking": "Information/Advice seeking",
    "Data Analysis": "Math & Data Analysis",
    "Others": "Creative Tasks",
}
"""The task group of each tag."""
CUT_MARK, EMPTY_MARK = "... (truncated)", "[This model response is empty.]"
ROLES = {"user": "USER: ", "assistant": "ASSISTANT: "}
EXPECTED = "a list of rows with 'session_id', 'conversation_input', 'checklist' and tags"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation to continue, what a good answer has, and what it is about."""

    id: str
    turns: tuple[Message, ...]
    checklist: tuple[str, ...]
    groups: tuple[str, ...]
    """The task groups of its tags, each once."""

    def as_prompt(self, meta: Mapping[str, str]) -> Prompt:
        """Return the conversation as a prompt."""
        return Prompt(self.id, self.turns, {"groups": "|".join(self.groups), **meta})


class HubTasks(Component):
    """Converts the hub's Parquet file of conversations into `tasks.json`."""

    def convert_file(self, path: Path) -> list[dict[str, Any]]:
        """Return the rows, after checking that they are the 1,024 conversations.

        Raises:
            ValueError: they are others, or the file is no Parquet.
        """
        import pyarrow.parquet

        try:
            rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise ValueError(f"it is no Parquet file ({type(error).__name__})") from error
        names = ("session_id", "conversation_input", "checklist", "primary_tag", "secondary_tags")
        missing = [name for name in names if rows and name not in rows[0]]
        if missing:
            raise ValueError(f"it has no column {missing[0]}")
        if ids_digest(row["session_id"] for row in rows) != IDS_DIGEST:
            raise ValueError(f"its {len(rows)} conversations are not WildBench v2's {COUNT}")
        return [{name: row[name] for name in names} for row in rows]


def ids_digest(ids: Any) -> str:
    """Return a digest of ids, whatever their order."""
    return digest(sorted(ids))


def load_conversations(folder: Path) -> tuple[Conversation, ...]:
    """Return the conversations, in their published order.

    Raises:
        AssetError: they are missing.
        InputError: the file has an unexpected form.
    """
    path = folder / FOLDER / TASKS
    if not path.is_file():
        raise AssetError(
            f"{FOLDER}/{TASKS} is missing in {folder}: download it with `harness assets pull "
            f"{FOLDER}`, or name a directory that has it with --assets DIR"
        )
    return _load(path)


def load_template(kind: str, folder: Path) -> str:
    """Return the judge's template for `score` or `pairwise`.

    Raises:
        AssetError: it is missing, or is not the published one.
    """
    name, expected = TEMPLATES[kind]
    path, copy = folder / FOLDER / name, folder / FOLDER / "protocol.json"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif copy.is_file():
        text = json.loads(copy.read_text(encoding="utf-8"))[kind]["template"]
    else:
        raise AssetError(
            f"{FOLDER}/{name} is missing in {folder}: download it with "
            f"`harness assets pull {FOLDER}`"
        )
    if text_sha256(text) != expected:
        raise AssetError(f"{path} is not the published template: remove it and download it again")
    return text


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders one after the other, as upstream: the order matters."""
    for name, value in values.items():
        template = template.replace("{$" + name + "}", value)
    return template


def shown(conversation: Conversation, max_words: int) -> dict[str, str]:
    """Return what the judge sees of a conversation before the answers: history and query."""
    history = "".join(
        f"{ROLES[turn.role]}{turn.content}\n\n"
        for turn in conversation.turns[:-1]
        if turn.role in ROLES
    )
    query = conversation.turns[-1].content
    return {"history": cut(history, max_words), "user_query": cut(query, max_words)}


def checklist(conversation: Conversation) -> str:
    """Return the checklist, a line an item."""
    return "".join(f"- {item}\n" for item in conversation.checklist)


def cut(text: str, max_words: int) -> str:
    """Return the first `max_words` pieces between spaces, marked as cut; -1: the whole text."""
    pieces = text.split(" ")
    if max_words <= 0 or len(pieces) <= max_words:
        return text
    return " ".join(pieces[:max_words]) + CUT_MARK


def is_counted(text: str) -> bool:
    """Return whether an answer counts in lengths and groups: neither empty nor cut."""
    return bool(text) and not text.endswith(CUT_MARK) and text != EMPTY_MARK


def macro(by_group: Mapping[str, float]) -> float:
    """Return the weighted mean over groups, divided by the sum of all weights, as upstream."""
    return sum(value * WEIGHTS[group] for group, value in by_group.items()) / sum(WEIGHTS.values())


def groups_of(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the task groups of tags, each once, in order."""
    return tuple(dict.fromkeys(GROUPS[tag] for tag in tags))


@lru_cache(maxsize=2)
def _load(path: Path) -> tuple[Conversation, ...]:
    try:
        return tuple(_conversation(row) for row in read_json(path, EXPECTED))
    except (LookupError, TypeError, AttributeError) as error:
        raise AssetError(
            f"{path} has an unexpected form ({error!r}): remove it and download it with "
            f"`harness assets pull {FOLDER}`"
        ) from error


def _conversation(row: Mapping[str, Any]) -> Conversation:
    turns = tuple(Message(turn["role"], turn["content"]) for turn in row["conversation_input"])
    groups = groups_of([row["primary_tag"], *row["secondary_tags"]])
    return Conversation(row["session_id"], turns, tuple(row["checklist"]), groups)
