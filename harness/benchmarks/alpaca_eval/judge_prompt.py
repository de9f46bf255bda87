"""AlpacaEval's judge prompt: a ChatML template, filled and split exactly as alpaca_eval does.

Two quirks are part of the protocol: a text that contains a later placeholder receives the value
meant for that, and a text that contains ChatML markers ends its message or starts another. One
thing differs: text after the role `system` (`system name=...`) is dropped, since messages here have
no name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from harness.core.hub import assets_directory
from harness.errors import AssetError, MissingDependencyError
from harness.types import Message

TEMPLATE = Path("evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt")
FILE = "alpaca_eval_clf.txt"
PULL = "download it with `harness assets pull alpaca_eval`"
INSTALL = "install it with `pip install alpaca-eval==0.6.6`"
TEMPLATE_SHA256 = "784227e6dc2832fc08c43d2c8ea3a308e7523780187a1aaad2f85e30bac85f62"
START, END = "<|im_start|>", "<|im_end|>"
PLACEHOLDER = re.compile(r"{([^ \s]+?)}")


def template(root: Path | None = None) -> str:
    """Return the judge prompt: from the protocol data, or else from an installed alpaca-eval.

    Args:
        root: the directory with the protocol data; the default is that of the environment.

    Raises:
        MissingDependencyError: neither has it.
        AssetError: the prompt there is not that of the published figures.
    """
    return _read_template(assets_directory(root) / "alpaca_eval" / FILE)


@lru_cache(maxsize=4)
def _read_template(asset: Path) -> str:
    path = asset if asset.is_file() else _packaged_template()
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != TEMPLATE_SHA256:
        raise AssetError(f"{path} is not the prompt of alpaca-eval 0.6.6: {PULL}, or {INSTALL}")
    return data.decode()


def _packaged_template() -> Path:
    """Return the prompt's path in alpaca-eval, which is located but never imported."""
    spec = importlib.util.find_spec("alpaca_eval")
    locations = spec.submodule_search_locations if spec else None
    if not locations:
        raise MissingDependencyError(f"AlpacaEval's judge prompt is missing: {PULL}, or {INSTALL}")
    return Path(locations[0]) / TEMPLATE


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Replace the first occurrence of each placeholder, in the order of the template."""
    for name in dict.fromkeys(PLACEHOLDER.findall(template)):
        template = template.replace("{" + name + "}", values[name], 1)
    return template


def parse_messages(text: str) -> tuple[Message, ...]:
    """Split a ChatML text into messages."""
    return tuple(_parse_message(part) for part in text.strip().split(START)[1:])


def _parse_message(part: str) -> Message:
    line, _, rest = part.partition("\n")
    role = line.strip()
    return Message("system" if role.startswith("system") else role, rest.split(END, 1)[0].strip())
