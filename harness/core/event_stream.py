"""Bodies of server-sent events, as servers send them that stream whether they are asked to or not.

The events of a completion are put together to the body that would have come in one part. Comments
between them, with which gateways keep a connection open, are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

BEGINNING = re.compile(r"\s*(?:(?:data|event|id|retry):|:)")
"""Of a body of events; JSON begins with none of these."""
LINE_END = re.compile(r"\r\n|\n|\r")
DONE = "[DONE]"
LAST = ("model", "usage", "finish_reason", "role")
"""Keys whose last value counts; lists and texts are continued."""


def is_event_stream(text: str) -> bool:
    """Say whether a body consists of events."""
    return bool(BEGINNING.match(text))


def completion_text(text: str) -> str:
    """Return the JSON of the completion that a body of events gives in parts.

    Raises:
        ValueError: an event is no JSON, there is none, or the stream ends before its completion.
    """
    lines = [line.strip() for line in LINE_END.split(text) if not line.lstrip().startswith(":")]
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    if not data:  # comments before a plain body
        return "\n".join(lines)
    events = [json.loads(item) for item in data if item not in ("", DONE)]
    objects = [event for event in events if isinstance(event, Mapping)]
    if error := next((event for event in objects if event.get("error")), None):
        return json.dumps({"error": error["error"]})
    body = _joined(objects)
    choice = next(iter(body.get("choices") or ()), None)
    is_ended = isinstance(choice, Mapping) and choice.get("finish_reason")
    if not is_ended and DONE not in data:
        raise ValueError("the stream ends before its completion")
    return json.dumps(body)


def _joined(events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one completion: the first choice of all events, and the last model and usage."""
    merged: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    for event in events:
        merged |= {key: value for key, value in event.items() if key != "choices" and value}
        choices = event.get("choices")
        for part in choices if isinstance(choices, list) else ():
            if isinstance(part, Mapping) and not part.get("index"):
                _extend(choice, part)
    if "delta" in choice:
        choice["message"] = choice.pop("delta")
    return {**merged, "choices": [choice]} if choice else merged


def _extend(target: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Continue the texts, lists and objects of a choice by those of its next part."""
    for key, value in part.items():
        known = target.get(key)
        if isinstance(value, Mapping):
            known = target[key] = dict(known) if isinstance(known, Mapping) else {}
            _extend(known, value)
        elif isinstance(value, str) and isinstance(known, str) and key not in LAST:
            target[key] = known + value
        elif isinstance(value, list) and isinstance(known, list):
            target[key] = [*known, *value]
        elif value is not None:
            target[key] = value
