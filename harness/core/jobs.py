"""Device work that can be divided among processes, on one machine or on several.

A job crosses to other processes as plain data: a function by its name, components as the
configuration that rebuilds them. All processes see the same directories.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core import config, trust
from harness.core.hardware import CPU, device_name
from harness.core.io import atomic_directory, report_disk_errors, write_atomically
from harness.core.stages import TIMING
from harness.types import Advance

RunShard = Callable[[int, Path, Advance], None]
"""Computes the shard of an index: writes its result into an empty directory, reports progress."""


@dataclass(frozen=True)
class ShardedJob:
    """Work in shards; a shard's result does not depend on which process computes it, or when."""

    open: Callable[[Mapping[str, Any]], AbstractContextManager[RunShard]]
    """A function that can be imported by its name; its context loads the weights and frees them."""
    payload: Mapping[str, Any]
    """The argument of `open`: plain data, paths and components."""
    sizes: tuple[int, ...]
    """The total progress that each shard reports."""
    directory: Path
    """Holds one directory a finished shard, which is not computed again."""
    gpus: int = 1
    """GPUs that a process needs, if there are GPUs."""
    names: tuple[str, ...] = ()
    """What an error message calls each shard."""

    def shard_path(self, shard: int) -> Path:
        """Return the directory of a shard once it is finished."""
        return self.directory / f"shard-{shard:05d}"

    def shard_paths(self) -> list[Path]:
        """Return the directories of all shards, in order."""
        return [self.shard_path(shard) for shard in range(len(self.sizes))]

    def missing(self) -> list[int]:
        """Return the shards that no process has finished.

        The directory is listed, which on a network file system shows what other machines wrote; a
        file that was looked up by its name too early may stay invisible there for a minute.
        """
        finished = (
            {path.name for path in self.directory.iterdir()} if self.directory.is_dir() else set()
        )
        return [
            shard for shard in range(len(self.sizes)) if self.shard_path(shard).name not in finished
        ]

    def finished_size(self) -> int:
        """Return the progress that the finished shards have reported in all."""
        return sum(self.sizes) - sum(self.sizes[shard] for shard in self.missing())

    def seconds(self) -> float:
        """Return the seconds spent on all shards, loading excluded."""
        return float(sum(timing["seconds"] for timing in self._timings()))

    def accelerator(self) -> str | None:
        """Return the device that computed the shards; None if no shard recorded it."""
        devices = {timing["accelerator"] for timing in self._timings()}
        return " and ".join(sorted(devices - {CPU} or devices)) or None

    def name(self, shard: int) -> str:
        """Return what an error message calls a shard."""
        return self.names[shard] if self.names else f"shard {shard}"

    def _timings(self) -> Iterator[Any]:
        paths = (path / TIMING for path in self.shard_paths())
        return (json.loads(path.read_text("utf-8")) for path in paths if path.is_file())


@dataclass(frozen=True)
class GroupJob:
    """Work that several processes do together: each calls the same function."""

    run: Callable[[Mapping[str, Any]], None]
    """A function that can be imported by its name, called within torch's default process group."""
    payload: Mapping[str, Any]
    """The argument of `run`: plain data, paths and components."""
    directory: Path
    """A directory for what the processes leave to the one that waits for them."""


def run_shard(job: ShardedJob, compute: RunShard, shard: int, advance: Advance) -> None:
    """Compute a shard and store its result, unless another process stored it first.

    Raises:
        StoreError: the disk is full or read-only.
    """
    path = job.shard_path(shard)
    temporary = path.with_name(f".{path.name}-{platform.node()}-{os.getpid()}")
    with report_disk_errors(path), atomic_directory(path, temporary):
        started = time.monotonic()
        compute(shard, temporary, advance)
        timing = {"seconds": time.monotonic() - started, "accelerator": device_name()}
        # read by `ShardedJob.seconds` and `ShardedJob.accelerator`
        (temporary / TIMING).write_text(json.dumps(timing), encoding="utf-8")


def write_call(path: Path, function: Callable[..., Any], payload: Mapping[str, Any]) -> None:
    """Write the name of a function and its argument for another process."""
    data = {
        "function": config.qualified_name(function),
        "payload": config.to_data(payload),
        "path": [entry for entry in sys.path if entry],
    }
    write_atomically(path, json.dumps(data, indent=1))


def read_call(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function that `write_call` wrote and its argument, with its components built.

    Modules that could be imported by the writing process can be imported by this one afterwards.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    sys.path.extend(entry for entry in data["path"] if entry not in sys.path)
    module, _, name = data["function"].partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    trust.name_by_user(data["payload"])  # the writing process has built these components
    payload: dict[str, Any] = config.from_data(data["payload"])
    return function, payload
