"""Rows of prompt files (JSON lines, a JSON array, Parquet or CSV), each with its location."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import InputError

BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
SEPARATORS = {".csv": ",", ".tsv": "\t"}
EXPECTED = "expected a JSON object with 'prompt' or 'messages' in each line"
MAX_FIELD = 2**31 - 1
"""Characters of a CSV field; Python's own limit is 131,072."""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One row of a prompt file or data set."""

    location: str
    """Where it is, for messages: `line 3`."""
    value: Any
    """A mapping of columns, if the row is well formed."""
    problem: str = ""
    """Why it cannot be read; empty: it can."""


def read_rows(path: Path) -> list[PromptRow]:
    """Return the rows of a file; what it is, its ending or its first character says.

    Raises:
        InputError: the file cannot be read, or is not what its ending says.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet_rows(path)
        text = _decode(path.read_bytes())
        if path.suffix in SEPARATORS:
            return list(_csv_rows(text, SEPARATORS[path.suffix]))
        lines = text.split("\n")  # a JSON string may hold U+2028 and U+0085
        first = next((line.strip() for line in lines if line.strip()), "")
        if path.suffix == ".json" or first in ("[", "[{") or first.startswith(("[{", "[ {")):
            return _array_rows(text)
        return [_json_row(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot read the prompts {path}: {reason}") from error
    except ValueError as error:
        raise InputError(f"cannot read the prompts {path}: {error}") from error


def _decode(data: bytes) -> str:
    encoding = next((name for bom, name in BOMS.items() if data.startswith(bom)), "utf-8")
    return data.decode(encoding)


def _json_row(number: int, line: str) -> PromptRow:
    location = f"line {number}"
    try:
        return PromptRow(location, json.loads(line))
    except (ValueError, RecursionError) as error:
        return PromptRow(location, None, f"is not JSON ({error}): {EXPECTED}")


def _array_rows(text: str) -> list[PromptRow]:
    """Return the rows of a JSON array, or of JSON lines in a file that is called `.json`."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError:
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines or lines[0].lstrip().startswith("["):
            raise
        return [_json_row(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error
    if not isinstance(rows, list):
        rows = [rows]
    return [PromptRow(f"row {n}", row) for n, row in enumerate(rows, 1)]


def _csv_rows(text: str, separator: str) -> Iterator[PromptRow]:
    csv.field_size_limit(MAX_FIELD)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for number, row in enumerate(reader, 1):
            surplus = None in row
            yield PromptRow(f"row {number}", row, "has more fields than columns" if surplus else "")
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not CSV ({error})") from error


def _parquet_rows(path: Path) -> list[PromptRow]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            rows = file.read().to_pylist()
    except ArrowException as error:
        raise ValueError(f"it is not Parquet ({str(error).splitlines()[0]})") from error
    return [PromptRow(f"row {n}", row) for n, row in enumerate(rows, 1)]
