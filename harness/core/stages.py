"""The stage store: every step is a directory named by the digest of what goes into it.

A stage is written aside and renamed when it is whole, so a directory that stands is complete; one
that stands is never made twice. A lock per stage makes a second process wait for the first. A name
is derived from the *content* of the inputs: methods that share a prefix share its stages.
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
    flush_directory,
    flush_tree,
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
"""A folder in a stage's directory for what tells how it was made (logs, speeds): not the same
twice, so that it does not count in the stage's digest."""

TIMING = "timing.json"
"""A file in that folder: what those who worked at the stage, in whatever process, tell of it."""


def ignore_progress(label: str, total: int) -> AbstractContextManager[Advance]:
    """Track nothing: what runs where no one looks."""
    return nullcontext(lambda _: None)


@dataclass(frozen=True, slots=True)
class ExternalInput:
    """An input from outside: a folder or a hub id that the user named."""

    path: str
    digest: str


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """One step: what it is called, what goes in, and how it is made."""

    name: str
    version: int
    """Raised when the same inputs would now give another result."""
    config: Mapping[str, Any]
    """Plain data: all that changes the result besides the inputs."""
    inputs: Mapping[str, Node]
    run: StageFunction
    """Writes the result into an empty directory, given the paths of the inputs by name."""
    label: str = ""
    """What the user sees."""
    size: str = ""
    """How much work it is, in words."""
    device: bool = False
    """Whether it computes on an accelerator, where there is one."""
    accelerators: int = 1
    """How many of them it takes then, as far as that is known before."""


Node = ExternalInput | Stage


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stage that stands, or an input that was given."""

    path: str
    digest: str
    created: bool = False
    """True when this process has just made it."""


@dataclass(frozen=True)
class StageStore:
    """The directories under `root`, and what this process knows of them."""

    root: Path
    track: Track = ignore_progress
    on_stage: Callable[[Stage, Artifact], None] = lambda stage, artifact: None
    isolate: bool = False
    """Whether a device stage runs in a process of its own."""
    _artifacts: dict[Stage, Artifact] = field(default_factory=dict, repr=False)

    def materialize(self, node: Node) -> Artifact:
        """Return the artifact of `node`, making it and whatever it needs where it does not stand.

        Raises:
            StoreError: the disk is full or not writable, or a standing stage is damaged.
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
        """List the stages under `node` in the order of their making, each with its directory.

        The directory is None where the stage does not stand, or cannot be named yet because what
        goes into it does not stand.
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
        """Hold the stage's lock: released by the kernel however the process ends."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with open(locks / path.name, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _create(self, stage: Stage, inputs: Mapping[str, Artifact], path: Path) -> Artifact:
        temporary = path.with_name(f".partial-{path.name}")
        if temporary.exists():  # a process that was killed left it; the lock says that it is gone
            shutil.rmtree(temporary)
        temporary.mkdir()
        started = time.time()
        try:
            paths = {name: a.path for name, a in inputs.items()}
            if stage.device and self.isolate:
                run_isolated(stage.run, temporary, paths, self.track)
            else:
                stage.run(temporary, paths, self.track)
            manifest = build_manifest(stage, inputs, temporary, time.time() - started)
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
            flush_tree(temporary)
            temporary.rename(path)
            flush_directory(path.parent)
            shutil.rmtree(scratch_directory(temporary), ignore_errors=True)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return Artifact(str(path), manifest["digest"], created=True)


def scratch_directory(out: Path) -> Path:
    """Return where a stage that writes to `out` keeps what it goes on from when it is killed.

    Named by the stage's digest, so that only the same stage finds it; removed once that stands.
    """
    return out.parent / ".scratch" / out.name.removeprefix(".partial-")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return a standing stage's manifest, after a look that every file is there in its size."""
    try:
        loaded: dict[str, Any] = json.loads((path / MANIFEST).read_text())
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
    """Return a stage's manifest: what went in, the sha256 of what came out, where and when."""
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
    """Leave for the manifest what only those know who worked at a stage, in whatever process.

    Args:
        out: the stage's directory.
        told: `seconds`, how long they were at it in all; `accelerator`, what they computed on;
            `accelerators`, how many of it the stage takes. What is left out is not known.
    """
    write_atomically(out / PROVENANCE / TIMING, json.dumps(timing))


def accelerator_use(stage: Stage, path: Path, seconds: float) -> dict[str, Any]:
    """Return which accelerator a stage takes, how many, and for how long in all.

    That is the wall clock's time for each; where workers have told of more, theirs, which knows of
    those that worked side by side and of those that were stopped. They know, too, what other
    machines than this one compute on.
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
