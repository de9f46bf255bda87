"""Filling a ChatML template and cutting it into messages, letter for letter as alpaca_eval does.

Two quirks are part of the protocol: a text that holds a later placeholder swallows what belongs
there, and a text that holds ChatML markers ends its message or begins another. One thing differs:
what follows the role `system` in its line (`system name=...`) is dropped, messages here have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.types import Message

START, END = "<|im_start|>", "<|im_end|>"
PLACEHOLDER = re.compile(r"{([^ \s]+?)}")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace the first occurrence of every placeholder, in the order of the template."""
    for name in dict.fromkeys(PLACEHOLDER.findall(template)):
        template = template.replace("{" + name + "}", values[name], 1)
    return template


def messages(text: str) -> tuple[Message, ...]:
    """Cut a text in ChatML into messages."""
    return tuple(_message(part) for part in text.strip().split(START)[1:])


def _message(part: str) -> Message:
    line, _, rest = part.partition("\n")
    role = line.strip()
    return Message("system" if role.startswith("system") else role, rest.split(END, 1)[0].strip())
