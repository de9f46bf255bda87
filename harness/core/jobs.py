"""Device work that whatever process, on whatever machine, can do a part of.

It crosses to other processes as plain data: a function by its name, components as the
configuration that builds them again. All of them see the same folders.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import config
from harness.core.hardware import CPU, device_name
from harness.core.io import flush_directory, flush_tree, report_disk_errors, write_atomically
from harness.types import Advance

TIMING = "timing.json"
"""A file in a piece's folder: how long it took (`seconds`), and on what (`accelerator`)."""
RunShard = Callable[[int, Path, Advance], None]
"""Does the piece of that number: writes its result into an empty folder, tells how far it is."""


@dataclass(frozen=True)
class ShardedJob:
    """Work in pieces; a piece comes out the same whoever does it, and in whatever order."""

    open: Callable[[Mapping[str, Any]], AbstractContextManager[RunShard]]
    """Importable by its name; the context holds what is dear to load, and is left at the end."""
    payload: Mapping[str, Any]
    """What `open` is given: plain data, paths and components."""
    sizes: tuple[int, ...]
    """What every piece tells of its progress, in all."""
    directory: Path
    """Where each piece's result lies, a folder each; what stands there is not done again."""
    gpus: int = 1
    """How many GPUs whoever does it needs, where there are GPUs."""
    names: tuple[str, ...] = ()
    """What an error calls each piece."""

    def shard_path(self, shard: int) -> Path:
        """Return where a piece's result lies once it is whole."""
        return self.directory / f"shard-{shard:05d}"

    def shard_paths(self) -> list[Path]:
        """Return where the results lie, in the order of the pieces."""
        return [self.shard_path(shard) for shard in range(len(self.sizes))]

    def missing(self) -> list[int]:
        """Return the pieces that nobody has finished.

        The folder is listed, which on a network file system shows what other machines have done; a
        file that was looked for by its name too early may stay unseen there for a minute.
        """
        finished = (
            {path.name for path in self.directory.iterdir()} if self.directory.is_dir() else set()
        )
        return [
            shard for shard in range(len(self.sizes)) if self.shard_path(shard).name not in finished
        ]

    def seconds(self) -> float:
        """Return how long whoever did the pieces was at them, in all; loading is left out."""
        return float(sum(timing["seconds"] for timing in self._timings()))

    def accelerator(self) -> str | None:
        """Return what the pieces were computed on; None: no piece tells."""
        devices = {timing["accelerator"] for timing in self._timings()}
        return " and ".join(sorted(devices - {CPU} or devices)) or None

    def _timings(self) -> Iterator[Any]:
        paths = (path / TIMING for path in self.shard_paths())
        return (json.loads(path.read_text("utf-8")) for path in paths if path.is_file())

    def name(self, shard: int) -> str:
        """Return what an error calls a piece."""
        return self.names[shard] if self.names else f"shard {shard}"


@dataclass(frozen=True)
class GroupJob:
    """What several processes do together: each calls the same function with the same words."""

    run: Callable[[Mapping[str, Any]], None]
    """Importable by its name; torch's default process group stands when it is called."""
    payload: Mapping[str, Any]
    """What it is given: plain data, paths and components."""
    directory: Path
    """A folder for what the processes leave for whoever waits for them."""


def run_shard(job: ShardedJob, compute: RunShard, shard: int, advance: Advance) -> None:
    """Do a piece and put its result in place, whole; of two that did the same, the first stands."""
    path = job.shard_path(shard)
    temporary = path.with_name(f".{path.name}-{platform.node()}-{os.getpid()}")
    with report_disk_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        started = time.monotonic()
        try:
            compute(shard, temporary, advance)
            timing = {"seconds": time.monotonic() - started, "accelerator": device_name()}
            (temporary / TIMING).write_text(json.dumps(timing), encoding="utf-8")
            flush_tree(temporary)
            commit_shard(temporary, path)
            flush_directory(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def commit_shard(temporary: Path, path: Path) -> None:
    """Rename a folder into place, unless one stands there."""
    try:
        temporary.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def write_call(path: Path, function: Callable[..., Any], payload: Mapping[str, Any]) -> None:
    """Write a function's name and what it is given, for another process."""
    data = {
        "function": f"{function.__module__}:{function.__qualname__}",
        "payload": config.to_data(payload),
        "path": [entry for entry in sys.path if entry],
    }
    write_atomically(path, json.dumps(data, indent=1))


def read_call(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function that was written, and what it is given, its components built.

    What could be imported where it was written can be imported here from now on.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    sys.path.extend(entry for entry in data["path"] if entry not in sys.path)
    module, _, name = data["function"].partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    payload: dict[str, Any] = config.from_data(data["payload"])
    return function, payload
