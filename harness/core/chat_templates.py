"""Chat templates of policies: where they are, and whether one renders the same prompt every day."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import PolicyError, first_line

COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
BLOCK = re.compile(r"\{[{%](.*?)[}%]\}", re.DOTALL)
LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
CLOCK = re.compile(r"\bstrftime_now\b|\b(?:utc)?now\s*\(|\btoday\s*\(")
"""What a template can call to learn the date."""
GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""Tags of transformers that plain Jinja does not know."""
SUPPLIED = re.compile(
    r"messages|tools|documents|add_generation_prompt|raise_exception|strftime_now|\w+_tokens?"
)
"""Variables that whoever renders a template sets."""


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


def with_arguments(template: Any, arguments: Mapping[str, Any], owner: str) -> Any:
    """Return a chat template in which some variables have a value unless its caller sets them.

    The values become part of the text, so that whatever renders it later (an engine, lm-eval, the
    user of a saved policy) renders alike.

    Args:
        template: the text, or several by name.
        arguments: plain data by variable.
        owner: the policy's path, for the message.

    Raises:
        PolicyError: the template never reads one of the variables, or cannot be parsed.
    """
    if not arguments:
        return template
    by_name = template if isinstance(template, Mapping) else {"": template}
    readable = {v for text in by_name.values() for v in template_variables(text, owner)}
    if unknown := sorted(set(arguments) - readable):
        known = ", ".join(sorted(readable)) or "none that can be set"
        raise PolicyError(
            f"policy.template_arguments: the chat template of {owner} never reads "
            f"{', '.join(unknown)}; it reads {known}"
        )
    prefix = "".join(
        f"{{%- if {name} is not defined %}}{{%- set {name} = {_literal(value)} %}}{{%- endif %}}"
        for name, value in sorted(arguments.items())
    )
    changed = {
        name: text if text.startswith(prefix) else prefix + text for name, text in by_name.items()
    }
    return changed if isinstance(template, Mapping) else changed[""]


def template_variables(template: str, owner: str) -> set[str]:
    """Return the variables that a chat template reads and that its caller does not always set.

    Raises:
        PolicyError: it cannot be parsed.
    """
    from jinja2 import TemplateError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    try:
        tree = environment.parse(GENERATION.sub("", template))
    except TemplateError as error:
        message = f"the chat template of {owner} cannot be parsed: {first_line(error)}"
        raise PolicyError(message) from error
    return {v for v in meta.find_undeclared_variables(tree) if not SUPPLIED.fullmatch(v)}


def _literal(value: Any) -> str:
    """Return plain data as Jinja writes it."""
    match value:
        case None | bool():
            return str(value).lower()
        case Mapping():
            return f"{{{', '.join(f'{_literal(k)}: {_literal(v)}' for k, v in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False)


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
