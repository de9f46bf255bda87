"""The stage store: the result of every step is a directory named by a digest of its inputs.

A result is written to a temporary directory and renamed when it is whole, so that a cached one is
complete; it is never computed twice. A lock per stage makes a second process wait for the first. A
digest covers the *content* of the inputs: methods that share their first stages share the results.
A stage is found by the digests of its inputs, so the files of an input may be removed afterwards.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

from harness.core import hardware
from harness.core.io import atomic_directory, report_disk_errors, write_atomically
from harness.core.manifests import (
    MANIFEST,
    PROVENANCE,
    build_manifest,
    keep_manifest,
    kept_manifests,
    load_manifest,
    read_manifest,
    recorded_path,
    stage_name,
)
from harness.core.processes import run_isolated
from harness.core.source_code import check_code_unchanged
from harness.types import Advance, StageFunction, Track

TIMING = "timing.json"
"""A file in the directory `PROVENANCE` and in that of a shard: the duration and the device."""
PARTIAL = ".partial-"
"""Begins the name of a directory that is being written."""
MAX_COMBINATIONS = 64
"""Of results of a stage's inputs that are looked up, where inputs were removed and made again."""


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
    _results: dict[Stage, tuple[_Known, ...]] = field(default_factory=dict, repr=False)

    def materialize(self, node: Node) -> Artifact:
        """Return the artifact of a node, computing it and its inputs unless it is cached.

        The files of a cached result are compared with its manifest; those of its inputs, which are
        not read then, may have been removed.

        Raises:
            StoreError: the disk is full or read-only, or a cached result is damaged.
            CheckError: a component's code was edited since this process identified it.
        """
        if isinstance(node, ExternalInput):
            return Artifact(node.path, node.digest)
        if node not in self._artifacts:
            artifact = self._stored(node) or self._materialize(node)
            keep_manifest(self.root, Path(artifact.path).name, artifact.digest)
            self._artifacts[node] = artifact
            self.on_stage(node, artifact)
        return self._artifacts[node]

    def plan(self, node: Node) -> list[tuple[Stage, Path | None]]:
        """Return the stages of a node in the order in which they run, with their results.

        A result is None if it has to be computed. A stage is left out if its result was removed,
        and what stands on it is cached. No file but the manifests is read.

        Raises:
            StoreError: a manifest is damaged.
        """
        planned: dict[Stage, Path | None] = {}
        self._plan(node, True, planned, set(), {})
        return list(planned.items())

    def _plan(
        self,
        node: Node,
        needed: bool,
        planned: dict[Stage, Path | None],
        visited: set[tuple[Stage, bool]],
        pending: dict[Stage, tuple[_Known, ...]],
    ) -> None:
        if isinstance(node, ExternalInput) or (node, needed) in visited:
            return
        visited.add((node, needed))
        known_results = self._known(node, pending)
        stored = next((known.artifact for known in known_results if known.stored), None)
        for inner in node.inputs.values():
            self._plan(inner, needed and stored is None, planned, visited, pending)
        if stored or needed:
            planned[node] = Path(stored.path) if stored else None

    def _stored(self, stage: Stage) -> Artifact | None:
        """Return a cached result whose files are whole; None: there is none."""
        for known in self._known(stage, {}):
            if known.stored:
                read_manifest(Path(known.artifact.path))
                return known.artifact
        return None

    def _known(self, node: Node, pending: dict[Stage, tuple[_Known, ...]]) -> tuple[_Known, ...]:
        """Return the results of a node that are known, the one that is stored first.

        There are several if a result was removed and, computed again, differs. A removed result
        still names what was computed from it. `pending` are the stages without a stored result
        that were looked up before in the same walk.
        """
        if isinstance(node, ExternalInput):
            return (_Known(Artifact(node.path, node.digest), stored=True),)
        if node in pending:
            return pending[node]
        if node not in self._results:
            inner = [self._known(inner, pending) for inner in node.inputs.values()]
            by_digest: dict[str, _Known] = {}
            for inputs in islice(product(*inner), MAX_COMBINATIONS):
                digests = [known.artifact.digest for known in inputs]
                for known in self._results_of(node, dict(zip(node.inputs, digests, strict=True))):
                    by_digest.setdefault(known.artifact.digest, known)
            results = tuple(sorted(by_digest.values(), key=lambda known: not known.stored))
            if not (results and results[0].stored):
                pending[node] = results
                return results
            self._results[node] = results
        return self._results[node]

    def _results_of(self, stage: Stage, inputs: Mapping[str, str]) -> Iterator[_Known]:
        path = self._directory(stage, inputs)
        if (path / MANIFEST).is_file():
            yield _Known(Artifact(str(path), load_manifest(path)["digest"]), stored=True)
        for manifest in kept_manifests(self.root, path.name):
            yield _Known(Artifact(str(path), manifest["digest"]), stored=False)

    def _directory(self, stage: Stage, inputs: Mapping[str, str]) -> Path:
        return self.root / stage_name(stage.name, stage.version, stage.config, inputs)

    def _materialize(self, stage: Stage) -> Artifact:
        inputs = {name: self.materialize(inner) for name, inner in stage.inputs.items()}
        path = self._directory(stage, {name: artifact.digest for name, artifact in inputs.items()})
        with report_disk_errors(path), self._lease(path):
            if path.is_dir():  # another process has computed it meanwhile
                return Artifact(str(path), read_manifest(path)["digest"])
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
        check_code_unchanged()
        started = time.monotonic()
        with atomic_directory(path, temporary):
            self._run(stage, temporary, {name: a.path for name, a in inputs.items()})
            seconds = time.monotonic() - started
            provenance = {"seconds": seconds, **accelerator_use(stage, temporary, seconds)}
            manifest = build_manifest(self._facts(stage, inputs), temporary, provenance)
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
        shutil.rmtree(scratch_directory(temporary), ignore_errors=True)
        return Artifact(str(path), manifest["digest"], created=True)

    def _facts(self, stage: Stage, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
        return {
            "stage": stage.name,
            "version": stage.version,
            "label": stage.label,
            "config": stage.config,
            "inputs": {
                name: {"path": recorded_path(artifact.path, self.root), "digest": artifact.digest}
                for name, artifact in inputs.items()
            },
        }

    def _run(self, stage: Stage, out: Path, inputs: Mapping[str, str]) -> None:
        if stage.device and self.isolate:
            run_isolated(stage.run, out, inputs, self.track)
        else:
            stage.run(out, inputs, self.track)


@dataclass(frozen=True, slots=True)
class _Known:
    artifact: Artifact
    stored: bool
    """Whether the directory holds this result; False: it was removed, and its manifest kept."""


def scratch_directory(out: Path) -> Path:
    """Return the directory in which a stage that writes to `out` keeps its checkpoints.

    Its name holds the stage's digest, so that only the same stage resumes from it; it is removed
    once the stage's result is stored.
    """
    return out.parent / ".scratch" / out.name.removeprefix(PARTIAL)


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
