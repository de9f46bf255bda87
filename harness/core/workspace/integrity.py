"""The sha256 of the workspace's own records: written into them, and checked when they are read.

A record's sum is that of its JSON text with sorted keys and without the sum. It shows what was
changed by hand, by a disk or by half a copy; it is no signature, since whoever changes a record can
compute its sum again. `harness workspace verify` therefore also scores the verdicts again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.io import sha256
from harness.errors import StoreError

SUM = "sha256"
"""The key under which a record holds its own sum."""


def record_sum(record: Mapping[str, Any]) -> str:
    """Return the sha256 of a record, in hex; its key `sha256` is left out.

    Raises:
        ValueError: a number is not finite.
        TypeError: the record is not plain data.
    """
    content = {key: value for key, value in record.items() if key != SUM}
    plain = json.loads(json.dumps(content, allow_nan=False))  # as a reader of the file has it
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def with_sum(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its sum under the key `sha256`, as it is written; see `record_sum`."""
    return {**record, SUM: record_sum(record)}


def check_record(path: Path, record: Mapping[str, Any], remedy: str) -> None:
    """Refuse a record whose content has another sum than it holds, or that holds none.

    Args:
        path: the record's file, for the message.
        record: the content of the file.
        remedy: what mends it, as the end of the message: `remove it and run ... again`.

    Raises:
        StoreError: the record was changed after it was written.
    """
    if SUM not in record:
        raise StoreError(f"{path} holds no sha256 of itself, though its version has one: {remedy}")
    if record[SUM] != record_sum(record):
        raise StoreError(changed_message(path, remedy))


def check_file(path: Path, expected: str, remedy: str) -> None:
    """Refuse a file whose sha256 is not the one that its record holds.

    Raises:
        StoreError: the file was changed after it was written, or cannot be read.
    """
    try:
        actual = sha256(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if actual != expected:
        raise StoreError(changed_message(path, remedy))


def changed_message(path: Path, remedy: str) -> str:
    """Return the message about a file that is not what was written."""
    return f"{path} was changed after it was written (its sha256 is another): {remedy}"
