"""The stage store: the result of every step is a directory named by a digest of its inputs.

A result is written to a temporary directory and renamed when it is whole, so that a cached one is
complete; it is never computed twice. A lock per stage makes a second process wait for the first. A
digest covers the *content* of the inputs: methods that share their first stages share the results.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core import hardware
from harness.core.io import (
    atomic_directory,
    report_disk_errors,
    sha256,
    write_atomically,
)
from harness.core.processes import run_isolated
from harness.core.seeds import digest
from harness.core.versions import installed_versions
from harness.errors import StoreError
from harness.types import Advance, StageFunction, Track

MANIFEST = "manifest.json"
PROVENANCE = "provenance"
"""A directory in a stage's directory for records of its run (logs, speeds). They differ from run to
run, so they are left out of the result's digest."""
TIMING = "timing.json"
"""A file in that directory, and in that of a shard: the duration and the device of the work."""
LAYOUT = 2
"""The version of a stage's directory and manifest; part of every digest, so that results of another
layout are not reused."""
PARTIAL = ".partial-"
"""Begins the name of a directory that is being written."""


def ignore_progress(label: str, total: int) -> AbstractContextManager[Advance]:
    """Track nothing."""
    return nullcontext(lambda _: None)


@dataclass(frozen=True, slots=True)
class ExternalInput:
    """An input from outside the store: a directory or a hub id that the user named."""

    path: str
    digest: str


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """One step: its name, its inputs, and the function that computes its result."""

    name: str
    version: int
    """Raised when the same inputs give another result than before."""
    config: Mapping[str, Any]
    """Plain data: everything but the inputs that changes the result."""
    inputs: Mapping[str, Node]
    run: StageFunction
    """Writes the result into an empty directory, given the paths of the inputs by name."""
    label: str = ""
    """What the user reads while it runs."""
    size: str = ""
    """The amount of work, in words."""
    device: bool = False
    """Whether it computes on an accelerator, if there is one."""
    accelerators: int = 1
    """How many accelerators it then uses, as far as that is known before it runs."""


Node = ExternalInput | Stage


@dataclass(frozen=True, slots=True)
class Artifact:
    """The result of a stage, or an external input."""

    path: str
    digest: str
    created: bool = False
    """True if this process computed it, False if it was cached."""


@dataclass(frozen=True)
class StageStore:
    """The results under `root`, each computed at most once."""

    root: Path
    track: Track = ignore_progress
    on_stage: Callable[[Stage, Artifact], None] = lambda stage, artifact: None
    isolate: bool = False
    """Whether a device stage runs in a child process."""
    _artifacts: dict[Stage, Artifact] = field(default_factory=dict, repr=False)

    def materialize(self, node: Node) -> Artifact:
        """Return the artifact of a node, computing it and its inputs unless they are cached.

        Raises:
            StoreError: the disk is full or read-only, or a cached result is damaged.
        """
        if isinstance(node, ExternalInput):
            return Artifact(node.path, node.digest)
        if node not in self._artifacts:
            inputs = {name: self.materialize(inner) for name, inner in node.inputs.items()}
            artifact = self._materialize(node, inputs)
            self._artifacts[node] = artifact
            self.on_stage(node, artifact)
        return self._artifacts[node]

    def plan(self, node: Node) -> list[tuple[Stage, Path | None]]:
        """Return the stages that a node needs, in the order in which they run, with their results.

        A result is None if it is not cached, which it cannot be while one of its inputs is not.
        """
        visited: dict[Stage, Artifact | None] = {}
        self._visit(node, visited)
        return [(stage, Path(a.path) if a else None) for stage, a in visited.items()]

    def _visit(self, node: Node, visited: dict[Stage, Artifact | None]) -> Artifact | None:
        if isinstance(node, ExternalInput):
            return Artifact(node.path, node.digest)
        if node not in visited:
            inputs = {name: self._visit(inner, visited) for name, inner in node.inputs.items()}
            available = {name: artifact for name, artifact in inputs.items() if artifact}
            visited[node] = self._cached(node, available) if len(available) == len(inputs) else None
        return visited[node]

    def _directory(self, stage: Stage, inputs: Mapping[str, Artifact]) -> Path:
        key = digest(
            {
                "layout": LAYOUT,
                "stage": stage.name,
                "version": stage.version,
                "config": stage.config,
                "inputs": {name: artifact.digest for name, artifact in inputs.items()},
            }
        )
        return self.root / f"{stage.name}-{key[:20]}"

    def _cached(self, stage: Stage, inputs: Mapping[str, Artifact]) -> Artifact | None:
        path = self._directory(stage, inputs)
        if not (path / MANIFEST).is_file():
            return None
        return Artifact(str(path), read_manifest(path)["digest"])

    def _materialize(self, stage: Stage, inputs: Mapping[str, Artifact]) -> Artifact:
        if cached := self._cached(stage, inputs):
            return cached
        path = self._directory(stage, inputs)
        with report_disk_errors(path), self._lease(path):
            if cached := self._cached(stage, inputs):
                return cached
            return self._create(stage, inputs, path)

    @contextmanager
    def _lease(self, path: Path) -> Iterator[None]:
        """Hold the stage's lock, which the kernel releases however the process ends."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with open(locks / path.name, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _create(self, stage: Stage, inputs: Mapping[str, Artifact], path: Path) -> Artifact:
        # the lock is held: a directory of this name was left by a process that was killed
        temporary = path.with_name(f"{PARTIAL}{path.name}")
        started = time.time()
        with atomic_directory(path, temporary):
            self._run(stage, temporary, {name: a.path for name, a in inputs.items()})
            manifest = build_manifest(stage, inputs, temporary, time.time() - started)
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
        shutil.rmtree(scratch_directory(temporary), ignore_errors=True)
        return Artifact(str(path), manifest["digest"], created=True)

    def _run(self, stage: Stage, out: Path, inputs: Mapping[str, str]) -> None:
        if stage.device and self.isolate:
            run_isolated(stage.run, out, inputs, self.track)
        else:
            stage.run(out, inputs, self.track)


def scratch_directory(out: Path) -> Path:
    """Return the directory in which a stage that writes to `out` keeps its checkpoints.

    Its name holds the stage's digest, so that only the same stage resumes from it; it is removed
    once the stage's result is stored.
    """
    return out.parent / ".scratch" / out.name.removeprefix(PARTIAL)


def load_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a result without checking its files.

    Raises:
        StoreError: the manifest is missing or damaged.
    """
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        return {**manifest}
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it and run again") from error


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a cached result, after checking the presence and size of its files.

    Raises:
        StoreError: the manifest cannot be read, or a file is missing or has another size.
    """
    loaded = load_manifest(path)
    try:
        damaged = [
            name
            for name, entry in loaded["files"].items()
            if not (path / name).is_file() or (path / name).stat().st_size != entry["bytes"]
        ]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it and run again") from error
    if damaged:
        raise StoreError(f"{path} is damaged ({', '.join(damaged)}); remove it and run again")
    return loaded


def build_manifest(
    stage: Stage, inputs: Mapping[str, Artifact], path: Path, seconds: float
) -> dict[str, Any]:
    """Return the manifest of a result: its inputs, the sha256 of its files, where and when it ran.

    Args:
        stage: the stage.
        inputs: the artifacts of its inputs by name.
        path: the directory with the result.
        seconds: the duration of the run.
    """
    files = {
        str(file.relative_to(path)): {"sha256": sha256(file), "bytes": file.stat().st_size}
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    result_files = {n: entry for n, entry in files.items() if not n.startswith(f"{PROVENANCE}/")}
    return {
        "stage": stage.name,
        "version": stage.version,
        "label": stage.label,
        "config": stage.config,
        "inputs": {name: {"path": a.path, "digest": a.digest} for name, a in inputs.items()},
        "files": files,
        "digest": digest({name: entry["sha256"] for name, entry in result_files.items()}),
        "provenance": {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": seconds,
            **accelerator_use(stage, path, seconds),
        },
        "versions": installed_versions(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count()},
    }


def record_timing(out: Path, **timing: Any) -> None:
    """Record the timing that the manifest cannot know, of work in other processes.

    Args:
        out: the stage's directory.
        timing: `seconds`, the sum over the processes; `accelerator`, the device that they used;
            `accelerators`, how many of it the stage used. What is unknown is left out.
    """
    write_atomically(out / PROVENANCE / TIMING, json.dumps(timing))


def accelerator_use(stage: Stage, path: Path, seconds: float) -> dict[str, Any]:
    """Return which accelerator a stage used, how many of them, and the accelerator-seconds.

    These are the wall-clock time times the number of accelerators, or the seconds that the worker
    processes recorded if these are more: workers run side by side, may be stopped and started
    again, and may run on another machine with other accelerators.
    """
    file = path / PROVENANCE / TIMING
    timing = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if stage.device and stage.accelerators:
        device = timing.get("accelerator") or hardware.device_name()
    else:
        device = hardware.CPU
    needed = timing.get("accelerators", stage.accelerators)
    count = 0 if device == hardware.CPU else needed
    accelerator_seconds = count * max(seconds, timing.get("seconds", 0.0))
    return {
        "accelerator": device,
        "accelerators": count,
        "accelerator_seconds": accelerator_seconds,
    }
