"""A workspace and its runs: their records, policies, training logs and log-probabilities."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.core.documents import parse_json
from harness.core.hardware import has_nvidia_device
from harness.core.io import write_atomically
from harness.core.manifests import STORE, path_in_store, recorded_path
from harness.core.stages import Artifact, Stage, StageStore, ignore_progress
from harness.core.terminal import shorten
from harness.core.workspace.integrity import SUM, check_record, with_sum
from harness.errors import StoreError
from harness.types import Track

RUN_RECORD = "run.json"
RUN_SCHEMA = 2
"""Of a run's record. The first had no sum and no digests, and its paths were whole."""
RUN_REMEDY = "remove it and run `harness train` again, which keeps the stages"
LOG_FILE = "log.jsonl"
"""The metrics of a training, one line a step, in the directory of its stage."""
LOGPS_FILE = "logps.parquet"
"""An anchor's log-probabilities, one row a pair, in the directory of its stage."""


@dataclass(frozen=True)
class Workspace:
    """A directory of runs, stages, verdicts and results."""

    root: Path
    track: Track = ignore_progress
    """Shows the progress of long steps."""
    on_stage: Callable[[Stage, Artifact], None] = lambda stage, artifact: None
    """Called with every stage that is created or loaded."""
    isolate: bool = field(default_factory=has_nvidia_device)
    """Whether a device stage runs in a process of its own."""

    @functools.cached_property
    def stages(self) -> StageStore:
        """The stages of every run in this workspace."""
        return StageStore(self.root / STORE, self.track, self.on_stage, self.isolate)

    @property
    def verdicts(self) -> Path:
        """The database of every verdict ever given in this workspace."""
        return self.root / "verdicts.sqlite"


@dataclass(frozen=True)
class Run:
    """The record of a training run, complete or not."""

    name: str
    method: str
    config: dict[str, Any]
    policies: list[str]
    """The weights of π_1, π_2, ...: those that exist so far. A stage's path is recorded from the
    workspace on, so that a workspace can be moved; here it is whole."""
    complete: bool
    versions: dict[str, str]
    default_name: str | None = None
    """What the run would be called if the user had not named it; None: not known."""
    digests: list[str] = field(default_factory=list)
    """The digests of these weights; empty in a record of an older version."""

    @property
    def base(self) -> str:
        """The name of the policy that the run started from; empty where it has none."""
        policy = self.config.get("policy")
        return str(policy.get("name", "")) if isinstance(policy, Mapping) else ""

    def policy(self, iteration: int | None) -> str:
        """Return the path of the weights after an iteration; None: the last one.

        Raises:
            StoreError: the run is not complete, or has no such iteration.
        """
        if iteration is None and not self.complete:
            raise StoreError(
                f"run {self.name!r} is not complete ({len(self.policies) - 1} iterations are "
                "done): run its command again, or name an iteration, e.g. --run NAME@1"
            )
        index = self._index(iteration)
        if not 0 <= index < len(self.policies):
            raise StoreError(f"run {self.name!r} has iterations 0 to {len(self.policies) - 1}")
        return self.policies[index]

    def digest(self, iteration: int | None) -> str:
        """Return the digest of the weights after an iteration; empty where it is not recorded."""
        index = self._index(iteration)
        return self.digests[index] if 0 <= index < len(self.digests) else ""

    def _index(self, iteration: int | None) -> int:
        return len(self.policies) - 1 if iteration is None else iteration


def run_directory(workspace: Workspace, name: str) -> Path:
    """Return the directory of a run's record."""
    return workspace.root / "train" / name


def run_names(workspace: Workspace) -> list[str]:
    """Return the names of a workspace's runs, sorted."""
    root = workspace.root / "train"
    return sorted(path.parent.relative_to(root).as_posix() for path in root.rglob(RUN_RECORD))


def read_run(workspace: Workspace, name: str) -> Run | None:
    """Return a run's record; None where there is none.

    Raises:
        StoreError: the record is damaged.
    """
    path = run_directory(workspace, name) / RUN_RECORD
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        if data.get("schema", 1) > 1:
            check_record(path, data, RUN_REMEDY)
        return _parse_run(data, workspace.root / STORE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({shorten(str(error))}): {RUN_REMEDY}") from error


def read_runs(workspace: Workspace) -> list[Run]:
    """Return the runs of a workspace by name; those whose record is damaged are left out."""
    runs = []
    for name in run_names(workspace):
        try:
            run = read_run(workspace, name)
        except StoreError:
            continue
        if run is not None:
            runs.append(run)
    return runs


def write_run(workspace: Workspace, run: Run) -> None:
    """Write a run's record.

    Raises:
        StoreError: the disk is full or not writable.
    """
    policies = [recorded_path(path, workspace.root / STORE) for path in run.policies]
    record = with_sum({**vars(run), "policies": policies, "schema": RUN_SCHEMA})
    text = json.dumps(record, indent=1, sort_keys=True)
    write_atomically(run_directory(workspace, run.name) / RUN_RECORD, text + "\n")


def _parse_run(data: Mapping[str, Any], store: Path) -> Run:
    run = Run(**{name: value for name, value in data.items() if name not in ("schema", SUM)})
    if not (isinstance(run.config, dict) and isinstance(run.policies, list)):
        raise TypeError("config is a mapping and policies a list")
    if not all(isinstance(text, str) for text in (run.name, run.method, *run.policies)):
        raise TypeError("its name, its method and its policies are texts")
    if not all(isinstance(text, str) for text in run.digests):
        raise TypeError("its digests are texts")
    if not isinstance(run.default_name, str | None):
        raise TypeError("its default name is a text")
    is_old = "schema" not in data
    policies = [path_in_store(path, store, is_old=is_old) for path in run.policies]
    return replace(run, policies=policies)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log of JSON lines, up to the first line that is not whole.

    A process that is killed leaves an unfinished last line. A missing file has no rows.
    """
    if not os.path.isfile(path):  # unlike Path.is_file: also False where the name is invalid
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not isinstance(row, dict):
            break
        rows.append(row)
    return rows


def read_logps(directory: Path | str) -> tuple[list[float], list[float]]:
    """Return an anchor's log-probabilities in nats: (chosen, rejected), in the order of the pairs.

    Raises:
        OSError: there is no such file.
        ValueError: the file is damaged.
    """
    import pyarrow.parquet

    names = ["chosen", "rejected"]
    table = pyarrow.parquet.read_table(Path(directory) / LOGPS_FILE, columns=names)
    chosen, rejected = (table[name].to_pylist() for name in names)
    return chosen, rejected
