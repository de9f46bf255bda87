"""Rows of prompts and of pairs: of JSON lines, a JSON array, Parquet, CSV, or the hub."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.hub import whole_commit
from harness.core.terminal import one_line
from harness.errors import InputError, MissingDependencyError, first_line

BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
SEPARATORS = {".csv": ",", ".tsv": "\t"}
EXPECTED = {
    "prompts": "expected a JSON object with 'prompt' or 'messages' in each line",
    "pairs": "expected a JSON object with 'chosen' and 'rejected' in each line",
}
"""What a line looks like, by the key of a configuration that names the file."""
MAX_FIELD = 2**31 - 1
"""Characters of a CSV field; Python's own limit is 131,072."""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One row of a file or a data set."""

    location: str
    """Where it is, for messages: `line 3`."""
    value: Any
    """A mapping of columns, if the row is well formed."""
    problem: str = ""
    """Why it cannot be read; empty: it can."""


@dataclass(frozen=True, slots=True)
class HubRows:
    """The rows of a data set of the Hugging Face hub."""

    name: str
    revision: str
    split: str
    subset: str | None = None
    """The data set's configuration."""

    def load(self, key: str) -> Iterator[PromptRow]:
        """Return the rows; `key` is the setting that names them, for messages.

        Raises:
            MissingDependencyError: the hub cannot be reached or does not have the data set.
        """
        import datasets

        revision = whole_commit(self.name, self.revision)
        try:
            subset = {"name": self.subset} if self.subset else {}
            table = datasets.load_dataset(self.name, revision=revision, split=self.split, **subset)
        except (OSError, ValueError, RuntimeError) as error:
            component = "{use: harness.training.sources:FilePrompts, path: FILE}"
            setting = f"prompts={component}" if key == "prompts" else f"{key}.path=FILE"
            raise MissingDependencyError(
                f"cannot load the {key} {self.name} from the hub ({first_line(error)}); "
                "download them once with a connection, or name a file with "
                f"--set {setting!r}"
            ) from error
        return (PromptRow(f"row {n}", dict(row)) for n, row in enumerate(table, 1))


def unusable_rows(owner: str, bad: Sequence[str], key: str) -> str:
    """Return the message that refuses rows; `bad` has a line for each, `key` names the setting."""
    more = f"; {len(bad) - 1} more such rows" if len(bad) > 1 else ""
    return (
        f"{owner}, {one_line(bad[0], limit=None)}{more}; mend the file, or drop such rows with "
        f"--set {key}.drop_bad=true"
    )


def read_rows(path: Path, key: str = "prompts") -> list[PromptRow]:
    """Return the rows of a file; what it is, its ending or its first character says.

    Args:
        path: the file.
        key: the setting that names it, `prompts` or `pairs`, for messages.

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
            return _array_rows(text, EXPECTED[key])
        return [
            _json_row(n, line, EXPECTED[key]) for n, line in enumerate(lines, 1) if line.strip()
        ]
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot read the {key} {path}: {reason}") from error
    except ValueError as error:
        raise InputError(f"cannot read the {key} {path}: {error}") from error


def _decode(data: bytes) -> str:
    encoding = next((name for bom, name in BOMS.items() if data.startswith(bom)), "utf-8")
    return data.decode(encoding)


def _json_row(number: int, line: str, expected: str) -> PromptRow:
    location = f"line {number}"
    try:
        return PromptRow(location, json.loads(line))
    except (ValueError, RecursionError) as error:
        return PromptRow(location, None, f"is not JSON ({error}): {expected}")


def _array_rows(text: str, expected: str) -> list[PromptRow]:
    """Return the rows of a JSON array, or of JSON lines in a file that is called `.json`."""
    try:
        rows = json.loads(text)
    except json.JSONDecodeError:
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines or lines[0].lstrip().startswith("["):
            raise
        numbered = enumerate(text.split("\n"), 1)
        return [_json_row(n, line, expected) for n, line in numbered if line.strip()]
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
