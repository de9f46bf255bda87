"""A user's files: JSON and JSON lines, plain or gzip; what does not fit is told in one line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import InputError

SHOWN = 60
SURROGATE = "holds half of a surrogate pair"


def read_text(path: Path, expected: str) -> str:
    """Return a file's text; `expected` says in an error what it should hold.

    Raises:
        InputError: it is missing, cannot be read, is not UTF-8, or is broken gzip data.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; name a file that holds {expected}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}); expected {expected}"
        ) from error
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path} is cut off or broken gzip data; expected {expected}") from error
    except OSError as error:
        told = error.strerror or "broken gzip data"
        raise InputError(f"cannot read {path} ({told}); expected {expected}") from error


def read_json(path: Path, expected: str) -> Any:
    """Return a JSON file's content.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path, expected))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON ({shown(str(error))}); expected {expected}"
        ) from error


def read_lines(path: Path, expected: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON lines file; empty lines do not count.

    Raises:
        InputError: it cannot be read, or a line is no JSON object: which, and why.
    """
    found = []
    for number, line in enumerate(read_text(path, expected).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            told = f"line {number} is not JSON ({shown(str(error))}); is the file cut off?"
            raise InputError(f"{path}: {told} Expected {expected}") from error
        if not isinstance(row, dict):
            told = f"line {number} holds {kind(row)}"
            raise InputError(f"{path}: {told}; expected {expected}")
        found.append(row)
    return found


def fault(row: Any, *keys: str) -> str | None:
    """Say what keeps a row from having text under every one of the keys, or return None."""
    if not isinstance(row, Mapping):
        return f"which is {kind(row)}"
    for key in keys:
        if key not in row:
            return f"which has no {key!r}"
        if not isinstance(row[key], str):
            return f"whose {key!r} is {kind(row[key])}"
        if broken(row[key]):
            return f"whose {key!r} {SURROGATE}"
    return None


def broken(text: str) -> bool:
    """Say whether a text holds half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def check_rows(path: Path, rows: Any, expected: str, *keys: str) -> list[dict[str, Any]]:
    """Return rows of a list, all with text under the keys.

    Raises:
        InputError: it is no list, or rows do not fit: how many, which first, and why.
    """
    if not isinstance(rows, list):
        raise InputError(f"{path} holds {kind(rows)}; expected {expected}")
    bad = [(i, told) for i, row in enumerate(rows) if (told := fault(row, *keys))]
    if bad:
        place, told = bad[0]
        raise InputError(
            f"{path}: {len(bad)} of {len(rows)} rows do not fit, e.g. row {place} (from 0), "
            f"{told}; expected {expected}"
        )
    return rows


def stem(path: Path) -> str:
    """Return a file's name without what says how it is written."""
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".jsonl").removesuffix(".json")


def kind(value: Any) -> str:
    """Say what a JSON value is."""
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")


def shown(text: str) -> str:
    """Return a text in one short line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[:SHOWN] + "..."
