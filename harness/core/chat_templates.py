"""Chat templates of policies: where they are, and whether one renders the same prompt every day."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import PolicyError

COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
BLOCK = re.compile(r"\{[{%](.*?)[}%]\}", re.DOTALL)
LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
CLOCK = re.compile(r"\bstrftime_now\b|\b(?:utc)?now\s*\(|\btoday\s*\(")
"""What a template can call to learn the date."""


def read_template(path: str) -> str:
    """Return the chat template in a file.

    Raises:
        PolicyError: the file cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PolicyError(f"cannot read the chat template {path}: {reason}") from error


def folder_templates(folder: Path) -> list[str]:
    """Return the chat templates in a model's folder; those that cannot be read are left out."""
    return [
        template
        for file in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
        for template in _templates(folder / file)
    ]


def check_template(template: Any, owner: str) -> None:
    """Refuse a chat template that reads the date: tomorrow it would render another prompt.

    Args:
        template: the text, or several by name.
        owner: the policy's path, for the message.

    Raises:
        PolicyError: it does.
    """
    texts = template.values() if isinstance(template, Mapping) else [template]
    for text in texts:
        if isinstance(text, str) and (clock := date_source(text)):
            raise PolicyError(
                f"the chat template of {owner} reads the date ({clock}): the same run would have "
                "other prompts tomorrow; write a date into a copy of the template and name it "
                "with --set policy.chat_template=FILE"
            )


def date_source(template: str) -> str | None:
    """Return what a template calls to learn the date; None: it does not."""
    for block in BLOCK.findall(COMMENT.sub("", template)):
        if match := CLOCK.search(LITERAL.sub("''", block)):
            return match[0].rstrip("( ")
    return None


def _templates(file: Path) -> Iterator[str]:
    try:
        text = file.read_text(encoding="utf-8")
        template = text if file.suffix == ".jinja" else json.loads(text).get("chat_template")
    except (OSError, ValueError, AttributeError):
        return
    rows = template if isinstance(template, list) else [template]
    for row in rows:
        value = row.get("template") if isinstance(row, dict) else row
        if isinstance(value, str):
            yield value
