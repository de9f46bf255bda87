"""What a reasoning model thought before its answer, told apart from the answer.

Servers leave the thought in the text unless they were started with a parser for it. Templates that
open the thought themselves leave only its end in the reply; gpt-oss's marks are words once a server
has dropped its special tokens.
"""

from __future__ import annotations

import re

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
