"""Reading a user's files and writing our own, so that a file is whole or absent."""

from __future__ import annotations

import csv
import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.core.seeds import digest
from harness.core.terminal import one_line, shorten
from harness.errors import InputError, StoreError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
LONE_SURROGATE = "holds half of a surrogate pair"
GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def report_disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's error about a full or read-only disk into one that names it.

    Raises:
        StoreError: `path` could not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise StoreError(
                f"no space left for {path}; what was stored before is intact: "
                "free some space and run the same command again"
            ) from error
        if error.errno in NOT_WRITABLE:
            raise StoreError(
                f"cannot write {path}: {error.strerror}; name another directory with --workspace"
            ) from error
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader sees either the old content or the new one.

    Raises:
        StoreError: the disk is full or read-only.
    """
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


@contextmanager
def atomic_directory(path: Path, temporary: Path) -> Iterator[Path]:
    """Yield an empty directory that is flushed and renamed to `path` when the block ends.

    If the block raises, nothing is left. If another process renamed its directory to `path` first,
    that one stays.

    Args:
        path: the directory to create.
        temporary: where it is written, on the same file system; what a killed process left there
            is removed.
    """
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        flush_tree(temporary)
        _rename_unless_present(temporary, path)
        flush_directory(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename_unless_present(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def flush_tree(path: Path) -> None:
    """Force the files of a directory to the disk."""
    for file in path.rglob("*"):
        if file.is_file():
            flush_file(file)
    flush_directory(path)


def flush_file(path: Path) -> None:
    """Force a file to the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def flush_directory(path: Path) -> None:
    """Force a directory's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """Return the sha256 of a text in UTF-8, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def directory_digest(path: Path) -> str:
    """Return a digest of the names and the content of all files in a directory."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest({p.relative_to(path).as_posix(): sha256(p) for p in files})


def file_name(label: str) -> str:
    """Return a label as a file name that cannot leave its directory."""
    return re.sub(r"^\.", "%2E", quote(label, safe=" +,@()=", errors="replace"))


def file_stem(path: Path) -> str:
    """Return a file's name without the suffixes of tables and gzip."""
    return re.sub(r"\.(jsonl|json|csv|tsv|parquet)$", "", path.name.removesuffix(".gz"))


def log_tail(log: Path, lines: int = 2) -> str:
    """Return the last lines of a log as one printable line, or a note that there are none.

    Blank lines, the rank that torch prints before a line, and the carets under code are left out.
    """
    try:
        text = log.read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    stripped = (line.removeprefix("[rank0]:").strip() for line in text.splitlines())
    content = [line for line in stripped if line and "^^^" not in line]
    return one_line(" | ".join(content[-lines:]), limit=None) or "it said nothing"


def read_text(path: Path, expected: str) -> str:
    """Return the text of a file, plain or gzipped.

    Args:
        path: the file.
        expected: what the file should hold, for the error message.

    Raises:
        InputError: it is missing, unreadable, not UTF-8, or broken gzip data.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == GZIP_MAGIC else data).decode("utf-8-sig")
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
    """Return the content of a JSON file.

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
    """Return the objects of a JSON lines file; blank lines are skipped.

    Raises:
        InputError: it cannot be read, or a line is not a JSON object: which line, and why.
    """
    return parse_jsonl(str(path), read_text(path, expected), expected)


def parse_jsonl(name: str, text: str, expected: str) -> list[dict[str, Any]]:
    """Return the objects of a text of JSON lines; blank lines are skipped.

    Args:
        name: what the text was read from, for the error message.
        text: the lines.
        expected: what they should hold, for the error message.

    Raises:
        InputError: a line is not a JSON object: which line, and why.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = f"line {number} is not JSON ({shorten(str(error))}); is the file cut off?"
            raise InputError(f"{name}: {message} Expected {expected}") from error
        if not isinstance(row, dict):
            message = f"line {number} holds {json_type(row)}"
            raise InputError(f"{name}: {message}; expected {expected}")
        rows.append(row)
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


def check_rows(path: Path, rows: Any, expected: str, *keys: str) -> list[dict[str, Any]]:
    """Return rows after checking that they are a list of objects with text under every key.

    Raises:
        InputError: they are not: how many rows do not fit, which is the first, and why.
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


def row_problem(row: Any, *keys: str) -> str | None:
    """Return why a row is not an object with text under every key; None if it is one."""
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
    """Return whether a text holds half of a surrogate pair, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def json_type(value: Any) -> str:
    """Return the type of a JSON value in words, with its article."""
    names = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")
