"""Prompts with verifiable constraints, in the layout that IFEval and IFBench share.

A line has `key`, `prompt`, `instruction_id_list` and `kwargs`, one object of arguments per
instruction. Arguments that are null are dropped, wherever a file pads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.benchmarks import assets
from harness.benchmarks.ifeval.constraints import ConstrainedPrompt, Constraint
from harness.core.io import json_type, parse_jsonl, read_text, text_sha256
from harness.errors import InputError

EXPECTED = "JSON lines with 'key', 'prompt', 'instruction_id_list' and 'kwargs'"
META = {"baseline": "none"}


def load_questions(name: str, root: Path | None) -> tuple[ConstrainedPrompt, ...]:
    """Return the questions of `SET/FILE` of the protocol data, or of a user's own file.

    Raises:
        AssetError: the protocol data is missing, or is not the published one.
        InputError: a user's file does not fit.
    """
    return _parse(name, _text(name, root))


def questions_sha256(name: str, root: Path | None) -> str:
    """Return the sha256 of the text that `load_questions` reads."""
    return text_sha256(_text(name, root))


def _text(name: str, root: Path | None) -> str:
    path = Path(name)
    is_asset = not path.is_file() and path.parent.name == name.partition("/")[0] != ""
    return assets.read(name, root) if is_asset else read_text(path, EXPECTED)


@lru_cache(maxsize=4)
def _parse(name: str, text: str) -> tuple[ConstrainedPrompt, ...]:
    rows = parse_jsonl(name, text, EXPECTED)
    questions = tuple(_question(name, number, row) for number, row in enumerate(rows, start=1))
    keys = [question.id for question in questions]
    if not keys:
        raise InputError(f"{name} has no rows; expected {EXPECTED}")
    if len(set(keys)) < len(keys):
        double = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"{name}: the key {double} is there twice: keep one row of it")
    return questions


def _question(name: str, number: int, row: Mapping[str, Any]) -> ConstrainedPrompt:
    key, prompt = row.get("key"), row.get("prompt")
    kinds, arguments = _items(row, "instruction_id_list", str), _items(row, "kwargs", Mapping)
    if not isinstance(key, str | int) or not isinstance(prompt, str):
        problem = f"'key' is {json_type(key)} and 'prompt' is {json_type(prompt)}"
    elif not kinds:
        problem = "'instruction_id_list' is no list of names"
    elif len(kinds) != len(arguments):
        problem = f"it has {len(kinds)} instructions, and {len(arguments)} objects in 'kwargs'"
    else:
        pairs = zip(kinds, arguments, strict=True)
        constraints = tuple(Constraint(kind, _without_nulls(a)) for kind, a in pairs)
        return ConstrainedPrompt(str(key), prompt, constraints)
    raise InputError(f"{name}: row {number} does not fit ({problem}); expected {EXPECTED}")


def _items(row: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """Return the list under a key; empty if it is none, or holds something of another type."""
    value = row.get(key)
    fits = isinstance(value, list) and all(isinstance(item, kind) for item in value)
    return list(value) if fits and value else []


def _without_nulls(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
