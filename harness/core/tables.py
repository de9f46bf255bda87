"""A user's table as rows: JSON rows or columns, CSV, TSV, Parquet, as pandas reads them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.io import parse_jsonl, read_json, read_text
from harness.core.terminal import shorten
from harness.errors import InputError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
PARQUET_MAGIC = b"PAR1"
LONGEST_FIELD = 2**31 - 1


def read_table(path: Path, expected: str, numbers: Collection[str] = ()) -> Any:
    """Return the rows of a table, or whatever else a JSON file holds.

    Args:
        path: the file; `.csv` and `.tsv` are told by the name, Parquet by its content.
        expected: what the file should hold, for the error message.
        numbers: columns of a CSV file that hold numbers; blank is null.

    Raises:
        InputError: it cannot be read, or its columns are not of one length.
    """
    if _is_parquet(path):
        return read_parquet(path, expected)
    if separator := SEPARATORS.get(Path(path.name.removesuffix(".gz")).suffix.lower()):
        return _delimited(path, read_text(path, expected), separator, expected, numbers)
    data = read_json(path, expected)
    return _rows_of_columns(path, data, expected) if _has_columns(data) else data


def read_lines(path: Path, expected: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON lines file, or the rows of a JSON list, JSON columns or Parquet.

    Raises:
        InputError: it cannot be read, or a line is not a JSON object: which line, and why.
    """
    if _is_parquet(path):
        return read_parquet(path, expected)
    text = read_text(path, expected)
    rows = _rows_of_whole(path, text, expected)
    return parse_jsonl(str(path), text, expected) if rows is None else rows


def _rows_of_whole(path: Path, text: str, expected: str) -> list[dict[str, Any]] | None:
    """Return the rows of a text that is one JSON list of objects, or JSON columns; else None."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if _has_columns(data):
        data = _rows_of_columns(path, data, expected) or None  # a row whose one field is empty
    is_table = isinstance(data, list) and all(isinstance(row, Mapping) for row in data)
    return [dict(row) for row in data] if is_table else None


def read_parquet(path: Path, expected: str) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file.

    Raises:
        InputError: it is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is no intact Parquet file ({shorten(str(error))}); expected {expected}"
        ) from error
    return rows


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


def _delimited(
    path: Path, text: str, separator: str, expected: str, numbers: Collection[str]
) -> list[dict[str, Any]]:
    csv.field_size_limit(LONGEST_FIELD)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is no CSV ({error}); expected {expected}") from error
    lines = [line for line in lines if line]
    header = lines[0] if lines else []
    for number, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            raise InputError(
                f"{path}: row {number} has {len(line)} fields, not {len(header)}; is the file cut "
                f"off? Expected {expected}"
            )
    rows = [dict(zip(header, line, strict=True)) for line in lines[1:]]
    return [{k: _number(v) if k in numbers else v for k, v in row.items()} for row in rows]


def _number(text: str) -> Any:
    """Return a number, null if there is none, or else the text."""
    if text.strip().lower() in ("", "nan", "null", "none", "na"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _has_columns(data: Any) -> bool:
    """Say whether JSON data is an object of lists, or of objects by row, as pandas writes them."""
    columns = list(data.values()) if isinstance(data, Mapping) else []
    return bool(columns) and (
        all(isinstance(column, list) for column in columns)
        or all(isinstance(column, Mapping) for column in columns)
    )


def _rows_of_columns(
    path: Path, data: Mapping[str, Any], expected: str
) -> Sequence[Mapping[str, Any]]:
    labels = [
        list(column) if isinstance(column, Mapping) else list(range(len(column)))
        for column in data.values()
    ]
    if any(set(other) != set(labels[0]) for other in labels):
        sizes = ", ".join(f"{name!r} {len(column)}" for name, column in data.items())
        raise InputError(f"{path}: its columns differ in their rows ({sizes}); expected {expected}")
    return [{name: column[label] for name, column in data.items()} for label in labels[0]]
