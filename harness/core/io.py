"""Files that are whole or not there: flushed, renamed into place, known by their content.

A user's files: JSON and JSON lines, plain or gzip; what does not fit is told in one line.
"""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.core.seeds import digest
from harness.errors import InputError, StoreError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextmanager
def report_disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into an error that says where."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise StoreError(
                f"no space left for {path}; what stood before is untouched: "
                "free some space and run the same command again"
            ) from error
        if error.errno in NOT_WRITABLE:
            raise StoreError(
                f"cannot write {path}: {error.strerror}; name another place with --workspace"
            ) from error
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader sees the old content or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    with report_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            flush_file(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_directory(path.parent)


def log_tail(log: Path) -> str:
    """Return the last lines of a log that say anything, in one line; nothing where there are none.

    Blank lines, the rank that torch prints before a line, and carets under code say nothing.
    """
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    stripped = (line.removeprefix("[rank0]:").strip() for line in lines)
    return " | ".join([line for line in stripped if line and "^^^" not in line][-2:])


def sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def directory_digest(path: Path) -> str:
    """Return a digest of every file in a folder: its name and its content."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest({p.relative_to(path).as_posix(): sha256(p) for p in files})


def flush_tree(path: Path) -> None:
    """Force a directory's files to the disk."""
    for file in path.rglob("*"):
        if file.is_file():
            flush_file(file)
    flush_directory(path)


def flush_file(path: Path) -> None:
    """Force one file to the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Force a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


MAX_SHOWN_CHARACTERS = 60
LONE_SURROGATE = "holds half of a surrogate pair"


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
        reason = error.strerror or "broken gzip data"
        raise InputError(f"cannot read {path} ({reason}); expected {expected}") from error


def read_json(path: Path, expected: str) -> Any:
    """Return a JSON file's content.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path, expected))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON ({shorten(str(error))}); expected {expected}"
        ) from error


def read_jsonl(path: Path, expected: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON lines file; empty lines do not count.

    Raises:
        InputError: it cannot be read, or a line is no JSON object: which, and why.
    """
    rows = []
    for number, line in enumerate(read_text(path, expected).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = f"line {number} is not JSON ({shorten(str(error))}); is the file cut off?"
            raise InputError(f"{path}: {message} Expected {expected}") from error
        if not isinstance(row, dict):
            message = f"line {number} holds {json_type(row)}"
            raise InputError(f"{path}: {message}; expected {expected}")
        rows.append(row)
    return rows


def row_problem(row: Any, *keys: str) -> str | None:
    """Say what keeps a row from having text under every one of the keys, or return None."""
    if not isinstance(row, Mapping):
        return f"which is {json_type(row)}"
    for key in keys:
        if key not in row:
            return f"which has no {key!r}"
        if not isinstance(row[key], str):
            return f"whose {key!r} is {json_type(row[key])}"
        if has_lone_surrogate(row[key]):
            return f"whose {key!r} {LONE_SURROGATE}"
    return None


def has_lone_surrogate(text: str) -> bool:
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
        raise InputError(f"{path} holds {json_type(rows)}; expected {expected}")
    bad = [(i, reason) for i, row in enumerate(rows) if (reason := row_problem(row, *keys))]
    if bad:
        index, reason = bad[0]
        raise InputError(
            f"{path}: {len(bad)} of {len(rows)} rows do not fit, e.g. row {index} (from 0), "
            f"{reason}; expected {expected}"
        )
    return rows


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header line.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not UTF-8.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON lines.

    Raises:
        ValueError: a number is not finite.
    """
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def file_name(label: str) -> str:
    """Return a label as a file name that cannot leave its directory."""
    return re.sub(r"^\.", "%2E", quote(label, safe=" +,@()=", errors="replace"))


def file_stem(path: Path) -> str:
    """Return a file's name without what says how it is written."""
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".jsonl").removesuffix(".json")


def json_type(value: Any) -> str:
    """Say what a JSON value is."""
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")


def shorten(text: str) -> str:
    """Return a text in one short line."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN_CHARACTERS else line[:MAX_SHOWN_CHARACTERS] + "..."
