"""Completions as servers write them, whose shape differs from what the protocol says.

Judges' clients and engines read bodies with this: as JSON, as events or as the only entry of a
list; with a message, the text alone, or a part of a stream in its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from harness.core import event_stream

BYTE_ORDER_MARK = "\ufeff"
MOST_DIGITS = 300
"""Of a whole number; one with more is infinite."""


def load_body(text: str) -> Any:
    """Parse the JSON of a response, which may come as events, or as the only entry of a list.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or ends before its completion.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    if event_stream.is_event_stream(text):
        text = event_stream.completion_text(text)
    data = load_json(text)
    return data[0] if isinstance(data, list) and len(data) == 1 else data


def load_json(text: str) -> Any:
    """Parse a server's JSON, in which a number may have any length and lists any depth.

    Raises:
        ValueError: it is no JSON, or is nested too deeply.
    """
    try:
        return json.loads(text.removeprefix(BYTE_ORDER_MARK), parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def first_choice(data: Any) -> Mapping[str, Any]:
    """Return a completion's choice with the lowest index; the first where one has none.

    Raises:
        LookupError: there is none, or the body is no object.
        TypeError: the same.
    """
    choices = [choice for choice in data["choices"] if isinstance(choice, Mapping)]
    if not choices:
        raise TypeError("no choice")
    indices = [choice["index"] for choice in choices if isinstance(choice.get("index"), int)]
    return choices[indices.index(min(indices))] if len(indices) == len(choices) else choices[0]


def message_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a choice's message; some servers give its text alone, or a stream's part."""
    for value in (choice.get("message"), choice.get("delta"), choice.get("text")):
        if isinstance(value, str):
            return {"content": value}
        if isinstance(value, Mapping):
            return value
    return {}


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else math.copysign(math.inf, int(digits[:2]))
