"""What a reasoning model thought before its answer, separated from the answer.

Servers leave the thought in the text unless they were started with a parser for it. Templates that
open the thought themselves leave only its end in the reply; gpt-oss's marks are words once a server
has dropped its special tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

THINKING = ("reasoning_content", "reasoning", "thinking")
"""Keys under which servers put a thought beside the answer."""
THINKING_PARTS = ("thinking", "reasoning", "redacted_thinking")
MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
}
"""The beginning and the end of a thought, by model family."""
BEGINNING = re.compile(rf"^[^\S\n]*(?:{'|'.join(map(re.escape, MARKS))})", re.I | re.M)
"""At the beginning of a line; a mark within a line is quoted, e.g. from an answer."""
END = re.compile("|".join(map(re.escape, MARKS.values())), re.I)
BARE_BEGINNING, BARE_END = re.compile(r"\Aanalysis(?=[A-Z])"), re.compile("assistantfinal")


def split_thinking(text: str) -> tuple[str, str]:
    """Return a reply's thought and what follows it; without a thought, nothing and the text.

    The last end of a thought counts, because a thought may quote one. Nothing follows a thought
    that does not end.
    """
    is_bare = BARE_BEGINNING.match(text)
    ends = list((BARE_END if is_bare else END).finditer(text))
    start = ends[-1].end() if ends else 0
    if BEGINNING.search(text, start) or (is_bare and not ends):
        return text, ""
    return (text[:start], text[start:].lstrip()) if ends else ("", text)


def begins_to_think(text: str) -> bool:
    """Say whether a text begins with a thought, ended or not."""
    text = text.lstrip()
    return bool(BEGINNING.match(text) or BARE_BEGINNING.match(text))


def read_content(content: Any) -> tuple[str, str]:
    """Return the text of a message's content and the thought in it; content may be parts."""
    if not isinstance(content, list | Mapping):
        return read_text(content), ""
    texts, thoughts = [], []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, Mapping) and str(part.get("type")).startswith(THINKING_PARTS):
            thoughts += [part_text(part.get(key)) for key in (*THINKING, "text", "summary")]
        else:
            texts.append(part_text(part))
    return "".join(texts), "".join(thoughts)


def part_text(part: Any) -> str:
    """Return the text of a part, however deep it lies."""
    if isinstance(part, list):
        return "".join(map(part_text, part))
    if isinstance(part, Mapping):
        return part_text(part.get("text", part.get("value")))
    return read_text(part)


def read_text(value: Any) -> str:
    """Return a text that UTF-8 can encode; whatever is no text is empty."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
