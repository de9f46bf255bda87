"""Files that are whole or not there: flushed, renamed into place, known by their content."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StoreError
from harness.seeds import digest

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full or forbidden disk into an error that says where."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreError(
                f"no space left for {path}; what stood before is untouched: "
                "free some space and run the same command again"
            ) from error
        if error.errno in FORBIDDEN:
            raise StoreError(
                f"cannot write {path}: {error.strerror}; name another place with --workspace"
            ) from error
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file so that a reader sees the old content or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            aside.write_bytes(data)
            flush_file(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        flush_directory(path.parent)


def last_words(log: Path) -> str:
    """Return the last lines of a log that say anything, in one line; nothing where there are none.

    Blank lines, the rank that torch prints before a line, and carets under code say nothing.
    """
    try:
        lines = log.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    told = (line.removeprefix("[rank0]:").strip() for line in lines)
    return " | ".join([line for line in told if line and "^^^" not in line][-2:])


def sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(path: Path) -> str:
    """Return a digest of every file in a folder: its name and its content."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest({p.relative_to(path).as_posix(): sha256(p) for p in files})


def flush(path: Path) -> None:
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
