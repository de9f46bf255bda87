"""The stage store: every step is a directory named by the digest of what goes into it.

A stage is written aside and renamed when it is whole, so a directory that stands is complete; one
that stands is never made twice. A lock per stage makes a second process wait for the first. A name
is derived from the *content* of the inputs: methods that share a prefix share its stages.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.metadata
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

from harness import accelerators, checkout
from harness.errors import StoreError
from harness.files import flush, flush_directory, sha256, write_whole, writing
from harness.isolation import has_accelerator, isolated
from harness.seeds import digest
from harness.types import Advance, Make, Track

MANIFEST = "manifest.json"
MADE = "made"
"""A folder in a stage's directory for what tells how it was made (logs, speeds): not the same
twice, so that it does not count in the stage's digest."""

WORKED = "worked.json"
"""A file in that folder: what those who worked at the stage, in whatever process, tell of it."""


def quiet(label: str, total: int) -> AbstractContextManager[Advance]:
    """Track nothing: what runs where no one looks."""
    return nullcontext(lambda _: None)


@dataclass(frozen=True, slots=True)
class Given:
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
    make: Make
    """Writes the result into an empty directory, given the paths of the inputs by name."""
    label: str = ""
    """What the user sees."""
    size: str = ""
    """How much work it is, in words."""
    device: bool = False
    """Whether it computes on an accelerator, where there is one."""
    accelerators: int = 1
    """How many of them it takes then, as far as that is known before."""


Node = Given | Stage


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stage that stands, or an input that was given."""

    path: str
    digest: str
    made: bool = False
    """True when this process has just made it."""


@dataclass(frozen=True)
class StageStore:
    """The directories under `root`, and what this process knows of them."""

    root: Path
    track: Track = quiet
    told: Callable[[Stage, Artifact], None] = lambda stage, artifact: None
    isolate: bool = False
    """Whether a device stage runs in a process of its own."""
    _known: dict[Stage, Artifact] = field(default_factory=dict, repr=False)

    def realise(self, node: Node) -> Artifact:
        """Return the artifact of `node`, making it and whatever it needs where it does not stand.

        Raises:
            StoreError: the disk is full or not writable, or a standing stage is damaged.
        """
        if isinstance(node, Given):
            return Artifact(node.path, node.digest)
        if node not in self._known:
            inputs = {name: self.realise(inner) for name, inner in node.inputs.items()}
            artifact = self._realise(node, inputs)
            self._known[node] = artifact
            self.told(node, artifact)
        return self._known[node]

    def plan(self, node: Node) -> list[tuple[Stage, Path | None]]:
        """List the stages under `node` in the order of their making, each with its directory.

        The directory is None where the stage does not stand, or cannot be named yet because what
        goes into it does not stand.
        """
        seen: dict[Stage, Artifact | None] = {}
        self._visit(node, seen)
        return [(stage, Path(a.path) if a else None) for stage, a in seen.items()]

    def _visit(self, node: Node, seen: dict[Stage, Artifact | None]) -> Artifact | None:
        if isinstance(node, Given):
            return Artifact(node.path, node.digest)
        if node not in seen:
            inputs = {name: self._visit(inner, seen) for name, inner in node.inputs.items()}
            whole = {name: artifact for name, artifact in inputs.items() if artifact}
            seen[node] = self._standing(node, whole) if len(whole) == len(inputs) else None
        return seen[node]

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

    def _standing(self, stage: Stage, inputs: Mapping[str, Artifact]) -> Artifact | None:
        path = self._directory(stage, inputs)
        if not (path / MANIFEST).is_file():
            return None
        return Artifact(str(path), manifest(path)["digest"])

    def _realise(self, stage: Stage, inputs: Mapping[str, Artifact]) -> Artifact:
        if standing := self._standing(stage, inputs):
            return standing
        path = self._directory(stage, inputs)
        with writing(path), self._lease(path):
            if standing := self._standing(stage, inputs):
                return standing
            return self._make(stage, inputs, path)

    @contextmanager
    def _lease(self, path: Path) -> Iterator[None]:
        """Hold the stage's lock: released by the kernel however the process ends."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with open(locks / path.name, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make(self, stage: Stage, inputs: Mapping[str, Artifact], path: Path) -> Artifact:
        aside = path.with_name(f".making-{path.name}")
        if aside.exists():  # a process that was killed left it; the lock says that it is gone
            shutil.rmtree(aside)
        aside.mkdir()
        begun = time.time()
        try:
            paths = {name: a.path for name, a in inputs.items()}
            if stage.device and self.isolate:
                isolated(stage.make, aside, paths, self.track)
            else:
                stage.make(aside, paths, self.track)
            told = describe(stage, inputs, aside, time.time() - begun)
            (aside / MANIFEST).write_text(json.dumps(told, indent=1, sort_keys=True))
            flush(aside)
            aside.rename(path)
            flush_directory(path.parent)
            shutil.rmtree(scratch(aside), ignore_errors=True)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        return Artifact(str(path), told["digest"], made=True)


@dataclass(frozen=True)
class Workspace:
    """Where results live, and how the user is told that something takes its time."""

    root: Path
    track: Track = quiet
    told: Callable[[Stage, Artifact], None] = lambda stage, artifact: None
    isolate: bool = field(default_factory=has_accelerator)

    @functools.cached_property
    def stages(self) -> StageStore:
        """The stages of every run in this workspace."""
        return StageStore(self.root / "stages", self.track, self.told, self.isolate)

    @property
    def verdicts(self) -> Path:
        """The database of every verdict that was ever given in this workspace."""
        return self.root / "verdicts.sqlite"


def scratch(out: Path) -> Path:
    """Return where a stage that writes to `out` keeps what it goes on from when it is killed.

    Named by the stage's digest, so that only the same stage finds it; removed once that stands.
    """
    return out.parent / ".scratch" / out.name.removeprefix(".making-")


def manifest(path: Path) -> dict[str, Any]:
    """Return a standing stage's manifest, after a look that every file is there in its size."""
    try:
        found: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        bad = [
            name
            for name, entry in found["files"].items()
            if not (path / name).is_file() or (path / name).stat().st_size != entry["bytes"]
        ]
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it and run again") from error
    if bad:
        raise StoreError(f"{path} is damaged ({', '.join(bad)}); remove it and run again")
    return found


def describe(
    stage: Stage, inputs: Mapping[str, Artifact], path: Path, seconds: float
) -> dict[str, Any]:
    """Return a stage's manifest: what went in, the sha256 of what came out, where and when."""
    files = {
        str(file.relative_to(path)): {"sha256": sha256(file), "bytes": file.stat().st_size}
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    counted = {n: entry for n, entry in files.items() if not n.startswith(f"{MADE}/")}
    return {
        "stage": stage.name,
        "version": stage.version,
        "label": stage.label,
        "config": stage.config,
        "inputs": {name: {"path": a.path, "digest": a.digest} for name, a in inputs.items()},
        "files": files,
        "digest": digest({name: entry["sha256"] for name, entry in counted.items()}),
        "made": {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": seconds,
            **computed_on(stage, path, seconds),
        },
        "versions": versions(),
        "hardware": {"machine": platform.machine(), "processors": os.cpu_count()},
    }


def tell_work(out: Path, **told: Any) -> None:
    """Leave for the manifest what only those know who worked at a stage, in whatever process.

    Args:
        out: the stage's directory.
        told: `seconds`, how long they were at it in all; `accelerator`, what they computed on;
            `accelerators`, how many of it the stage takes. What is left out is not known.
    """
    write_whole(out / MADE / WORKED, json.dumps(told))


def computed_on(stage: Stage, path: Path, seconds: float) -> dict[str, Any]:
    """Return which accelerator a stage takes, how many, and for how long in all.

    That is the wall clock's time for each; where workers have told of more, theirs, which knows of
    those that worked side by side and of those that were stopped. They know, too, what other
    machines than this one compute on.
    """
    file = path / MADE / WORKED
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if stage.device and stage.accelerators:
        kind = told.get("accelerator") or accelerators.kind()
    else:
        kind = accelerators.PROCESSOR
    takes = told.get("accelerators", stage.accelerators)
    count = 0 if kind == accelerators.PROCESSOR else takes
    held = count * max(seconds, told.get("seconds", 0.0))
    return {"accelerator": kind, "accelerators": count, "accelerator_seconds": held}


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of what results depend on, and the commit of a checkout."""
    found = {"python": platform.python_version()}
    if commit := checkout.commit():
        found["commit"] = commit
    for name in ("preference-harness", "torch", "transformers", "vllm", "numpy", "scikit-learn"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
