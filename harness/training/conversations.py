"""Prompts from rows: the columns and the forms of messages that published data sets have.

Messages are `role` and `content`, or `from` and `value` (ShareGPT); a content is text, or a list of
text parts. Tool calls and other roles than system, user and assistant are refused: what a policy
would be prompted with then is not known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.core.seeds import digest
from harness.core.terminal import shorten
from harness.types import Message, Prompt

CONVERSATIONS = ("messages", "context_messages", "conversations", "conversation")
COLUMNS = (*CONVERSATIONS, "prompt", "instruction")
"""The columns that hold a prompt, the first that is there and not null is read."""
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
"""The names of roles in data sets, and in chat templates."""


class UnusableRowError(ValueError):
    """A row that is no prompt; the text says why, naming the key."""


def read_prompt(row: Any, column: str | None = None) -> tuple[Prompt, bool]:
    """Return the prompt of a row, and whether the assistant's last turn was cut off.

    Args:
        row: a mapping of columns.
        column: the one that holds the prompt; None: the first of `COLUMNS` that the row has.

    Raises:
        UnusableRowError: the row holds no prompt.
    """
    if not isinstance(row, Mapping):
        raise UnusableRowError(
            f"is {value_kind(row)}: expected a JSON object with 'prompt' or 'messages' in each line"
        )
    name = column or _column(row)
    if name not in row:
        known = shorten(", ".join(map(str, row)))
        raise UnusableRowError(f"has no column {name!r} (it has {known})")
    turns = read_turns(row[name], name)
    if name == "instruction" and (more := row.get("input")):
        turns[0] = Message("user", f"{turns[0].content}\n{read_text(more, 'input')}")
    if (system := row.get("system")) and turns[0].role != "system":
        turns.insert(0, Message("system", read_text(system, "system")))
    length = len(turns)
    while turns and turns[-1].role == "assistant":
        turns.pop()
    if not turns or turns[-1].role != "user":
        raise UnusableRowError(f"{name}: no turn of the user is left to answer")
    return Prompt(_identifier(row, turns), tuple(turns)), len(turns) < length


def _column(row: Mapping[str, Any]) -> str:
    present = [name for name in COLUMNS if name in row]
    if not present:
        known = shorten(", ".join(map(str, row))) or "none"
        raise UnusableRowError(
            f"has none of the columns {', '.join(COLUMNS)} (it has {known}): expected 'prompt' or "
            "'messages' in each line, or another column that is named with "
            "--set prompts.column=COLUMN"
        )
    return next((name for name in present if row[name] is not None), present[0])


def read_turns(value: Any, name: str) -> list[Message]:
    """Return the turns that a column holds, a text being the user's.

    Raises:
        UnusableRowError: it holds neither text nor messages.
    """
    if name in CONVERSATIONS and isinstance(value, str):
        value = _parsed(value, name)
    if isinstance(value, str):
        return [Message("user", read_text(value, name))]
    if not isinstance(value, Sequence) or not value:
        raise UnusableRowError(
            f"{name} is {value_kind(value)}: expected text, or a list of messages"
        )
    return [_message(turn, f"{name}[{i}]") for i, turn in enumerate(value)]


def _parsed(value: str, name: str) -> Any:
    """Return the conversation that a column of a CSV file holds as JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise UnusableRowError(f"{name} is text: expected a list of messages") from None


def _message(turn: Any, location: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UnusableRowError(
            f"{location} is {value_kind(turn)}: expected 'role' and 'content' (see 'prompt' or "
            "'messages' in each line)"
        )
    if turn.get("tool_calls") or turn.get("function_call"):
        raise UnusableRowError(f"{location} holds tool calls, which no prompt may have")
    role_key = "role" if "role" in turn or "from" not in turn else "from"
    content_key = "content" if "content" in turn or "value" not in turn else "value"
    role = ROLES.get(str(turn.get(role_key)).lower())
    if role is None:
        raise UnusableRowError(
            f"{location}.{role_key} is {shorten(str(turn.get(role_key)))!r}: "
            "expected system, user or assistant"
        )
    return Message(role, read_text(turn.get(content_key), f"{location}.{content_key}"))


def read_text(value: Any, location: str) -> str:
    """Return a text, or a list of text parts as one.

    Raises:
        UnusableRowError: it is something else, or empty.
    """
    if isinstance(value, list) and value:
        value = "".join(_part(part, f"{location}[{i}]") for i, part in enumerate(value))
    if not isinstance(value, str):
        raise UnusableRowError(f"{location} is {value_kind(value)}: expected text")
    if not value.strip():
        raise UnusableRowError(f"{location} is empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        message = f"{location} holds half of a character (a lone surrogate)"
        raise UnusableRowError(message) from None
    return value


def _part(part: Any, location: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type", "text") != "text":
        kind = part.get("type") if isinstance(part, Mapping) else value_kind(part)
        raise UnusableRowError(f"{location} is {kind}: only parts of text can be read")
    text = part.get("text")
    if not isinstance(text, str):
        raise UnusableRowError(f"{location}.text is {value_kind(text)}: expected text")
    return text


def _identifier(row: Mapping[str, Any], turns: Sequence[Message]) -> str:
    value = row.get("id")
    if value is None or value == "":
        return digest([[m.role, m.content] for m in turns])[:16]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnusableRowError(f"id is {value_kind(value)}: expected text or a number")
    return read_text(str(value), "id")


def value_kind(value: Any) -> str:
    """Return what a value of JSON is, in words."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text"}
    return names.get(type(value), "an object")
