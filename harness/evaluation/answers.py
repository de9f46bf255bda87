"""Answers files in alpaca_eval's format: a JSON list of {instruction, output, generator}."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.types import Answer, Prompt

SHOWN = 60
FORMAT = "a JSON list of objects with 'instruction' and 'output', both text"


@dataclass(frozen=True)
class Answers:
    """What one contestant says, in the order of the prompts."""

    name: str
    """Who says it."""
    answers: tuple[Answer, ...]
    missing: int = 0
    """To how many prompts there is no answer."""


def read_answers(path: Path, prompts: Sequence[Prompt], allow_missing: bool = False) -> Answers:
    """Read an answers file (`.json`, or compressed with gzip) and match it to the prompts.

    Answers are matched by their instruction, so the order of the file does not matter; other keys
    than `instruction`, `output` and `generator` are ignored. The name is the generator's where the
    rows agree on one, or the file's.

    Raises:
        InputError: the file cannot be read; rows are of another form; an instruction is doubled,
            unknown, or (unless `allow_missing`) without an answer; nothing is answered.
    """
    rows = _rows(path, _loaded(path))
    _check_known(path, rows, prompts)
    told = {row["instruction"]: row["output"] for row in rows}
    missing = [prompt for prompt in prompts if prompt.text not in told]
    if missing and not (allow_missing and told):
        raise InputError(
            f"{path}: {len(missing)} of {len(prompts)} instructions have no answer, e.g. "
            f"{_shown(missing[0].text)}: answer them too, or leave them out with --allow-missing"
        )
    found = tuple(Answer(p.id, told[p.text]) for p in prompts if p.text in told)
    return Answers(_name(path, rows), found, len(missing))


def rows_of(answers: Answers, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
    """Return answers as the rows of an answers file."""
    by_id = {prompt.id: prompt for prompt in prompts}
    return [
        {
            "dataset": by_id[answer.prompt_id].meta.get("dataset", ""),
            "instruction": by_id[answer.prompt_id].text,
            "output": answer.text,
            "generator": answers.name,
        }
        for answer in answers.answers
    ]


def _loaded(path: Path) -> Any:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
        return json.loads(text)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; name a file that holds {FORMAT}") from error
    except OSError as error:
        told = error.strerror or "broken gzip data"
        raise InputError(f"cannot read {path} ({told}); expected {FORMAT}") from error
    except (ValueError, EOFError, zlib.error, RecursionError) as error:
        told = " ".join(str(error).split())[:SHOWN]
        raise InputError(f"{path} is not JSON ({told}); expected {FORMAT}") from error


def _rows(path: Path, data: Any) -> list[dict[str, Any]]:
    if not isinstance(data, list):
        raise InputError(f"{path} holds {_kind(data)}; expected {FORMAT}")
    bad = [(i, told) for i, row in enumerate(data) if (told := _fault(row))]
    if bad:
        place, told = bad[0]
        raise InputError(
            f"{path}: {len(bad)} of {len(data)} rows do not fit, e.g. row {place} (from 0), "
            f"{told}; expected {FORMAT}"
        )
    rows: list[dict[str, Any]] = data
    return rows


def _fault(row: Any) -> str | None:
    """Return what is wrong with a row, or None."""
    if not isinstance(row, Mapping):
        return f"which is {_kind(row)}"
    for key in ("instruction", "output"):
        if key not in row:
            return f"which has no {key!r}"
        if not isinstance(row[key], str):
            return f"whose {key!r} is {_kind(row[key])}"
        if any("\ud800" <= c <= "\udfff" for c in row[key]):
            return f"whose {key!r} holds half of a surrogate pair"
    return None


def _check_known(path: Path, rows: Sequence[dict[str, Any]], prompts: Sequence[Prompt]) -> None:
    """Refuse answers to something else, and second answers."""
    known = {prompt.text for prompt in prompts}
    given = Counter(row["instruction"] for row in rows)
    unknown = [text for text in given if text not in known]
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of {len(given)} instructions are not this benchmark's, e.g. "
            f"{_shown(unknown[0])}: remove them, or name another benchmark with --bench"
        )
    doubled = [text for text, count in given.items() if count > 1]
    if doubled:
        raise InputError(
            f"{path}: {len(doubled)} instructions are answered more than once, e.g. "
            f"{_shown(doubled[0])}: keep one answer each"
        )


def _name(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    names = {row.get("generator") for row in rows}
    only = names.pop() if len(names) == 1 else None
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    return only if isinstance(only, str) and only else stem


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN else line[:SHOWN] + "...")
