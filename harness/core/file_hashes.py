"""The sha256 of files, remembered by inode, size and times, so that no file is read twice.

A file that was changed within the last second is not remembered: a second change could leave the
same times. What is remembered follows a file that is renamed, and is of no use to a copy.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.io import sha256, write_atomically
from harness.errors import StoreError

CACHE_FILE = ".hashes.jsonl"
SETTLED_NS = 1_000_000_000
THREADS = 8
STALE_LINES = 1000
"""Lines of the file that may be out of date before it is written anew."""

FileState = tuple[int, int, int, int]
"""Inode, size, time of modification, and time of the last change of the inode."""


@dataclass
class FileHashes:
    """The sha256 of files, remembered in a file of JSON lines, to which all processes append."""

    cache: Path
    _known: dict[FileState, str] = field(default_factory=dict)
    _lines: int = 0

    def __post_init__(self) -> None:
        with suppress(OSError):
            for line in self.cache.read_text("utf-8", errors="replace").split("\n"):
                self._lines += 1
                with suppress(ValueError, TypeError):
                    inode, size, modified, changed, value = json.loads(line)
                    self._known[inode, size, modified, changed] = str(value)

    def sha256s(self, paths: Sequence[Path], *, again: bool = False) -> list[str]:
        """Return the sha256 of files, in hex; several are read at once.

        Args:
            paths: the files.
            again: read them whatever is remembered: bits that rot leave no trace in a file's times.

        Raises:
            OSError: a file cannot be read.
        """
        states = {path: file_state(path) for path in paths}
        unknown = [path for path, state in states.items() if again or state not in self._known]
        hashed: dict[Path, str] = {}
        if unknown:
            with ThreadPoolExecutor(min(THREADS, len(unknown))) as pool:
                hashed = dict(zip(unknown, pool.map(sha256, unknown), strict=True))
            self._remember({p: (states[p], value) for p, value in hashed.items()})
        return [hashed.get(path) or self._known[states[path]] for path in paths]

    def _remember(self, hashed: Mapping[Path, tuple[FileState, str]]) -> None:
        """Store the sha256 of files that have not just been written, nor changed meanwhile."""
        lines = []
        for path, (state, value) in hashed.items():
            is_settled = abs(time.time_ns() - max(state[2:])) > SETTLED_NS
            if is_settled and file_state(path) == state and self._known.get(state) != value:
                self._known[state] = value
                lines.append(json.dumps([*state, value]) + "\n")
        if lines:
            with suppress(OSError, StoreError):  # where nothing can be written, nothing is kept
                self._append(lines)

    def _append(self, lines: Sequence[str]) -> None:
        self._lines += len(lines)
        if self._lines > 2 * len(self._known) + STALE_LINES:
            entries = [json.dumps([*state, value]) + "\n" for state, value in self._known.items()]
            write_atomically(self.cache, "".join(entries))
            self._lines = len(entries)
            return
        descriptor = os.open(self.cache, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, "".join(lines).encode())
        finally:
            os.close(descriptor)


def hashes_in(directory: Path) -> FileHashes:
    """Return what is remembered in a directory, loaded once in a process."""
    return _load(directory.absolute() / CACHE_FILE)


def users_hashes() -> FileHashes:
    """Return what is remembered of files outside a workspace, in the user's cache directory."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with suppress(OSError):
        (caches / "preference-harness").mkdir(parents=True, exist_ok=True)
    return hashes_in(caches / "preference-harness")


def file_state(path: Path) -> FileState:
    """Return what changes when a file is changed.

    Raises:
        OSError: there is no such file.
    """
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@functools.lru_cache(maxsize=64)
def _load(cache: Path) -> FileHashes:
    return FileHashes(cache)
