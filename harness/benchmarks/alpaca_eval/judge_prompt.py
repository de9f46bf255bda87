"""Filling a ChatML template and cutting it into messages, letter for letter as alpaca_eval does.

Two quirks are part of the protocol: a text that holds a later placeholder swallows what belongs
there, and a text that holds ChatML markers ends its message or begins another. One thing differs:
what follows the role `system` in its line (`system name=...`) is dropped, messages here have none.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from harness.errors import AssetError, MissingDependencyError
from harness.types import Message

TEMPLATE_SHA256 = "784227e6dc2832fc08c43d2c8ea3a308e7523780187a1aaad2f85e30bac85f62"

TEMPLATE = Path("evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt")

START, END = "<|im_start|>", "<|im_end|>"
PLACEHOLDER = re.compile(r"{([^ \s]+?)}")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Replace the first occurrence of every placeholder, in the order of the template."""
    for name in dict.fromkeys(PLACEHOLDER.findall(template)):
        template = template.replace("{" + name + "}", values[name], 1)
    return template


def parse_messages(text: str) -> tuple[Message, ...]:
    """Cut a text in ChatML into messages."""
    return tuple(_parse_message(part) for part in text.strip().split(START)[1:])


def _parse_message(part: str) -> Message:
    line, _, rest = part.partition("\n")
    role = line.strip()
    return Message("system" if role.startswith("system") else role, rest.split(END, 1)[0].strip())


@lru_cache(maxsize=1)
def template() -> str:
    """Return the judge prompt of the installed alpaca-eval, which is found but never imported.

    Raises:
        MissingDependencyError: alpaca-eval is not installed.
        AssetError: its prompt is not the one that the published figures were made with.
    """
    spec = importlib.util.find_spec("alpaca_eval")
    locations = spec.submodule_search_locations if spec else None
    install = "install it with `pip install alpaca-eval==0.6.6`"
    if not locations:
        raise MissingDependencyError(f"AlpacaEval's judge prompt is in alpaca-eval: {install}")
    path = Path(locations[0]) / TEMPLATE
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != TEMPLATE_SHA256:
        raise AssetError(f"{path} is not the prompt of alpaca-eval 0.6.6: {install}")
    return data.decode()
