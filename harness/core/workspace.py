"""Where runs are recorded, and what they are called: light, for whoever only lists them.

What an evaluation leaves behind: a result, and beside it what it is made of.

    <workspace>/results/<benchmark>/<label>.json               the result, written last
    <workspace>/results/<benchmark>/<label>/items.json         one row a prompt
    <workspace>/results/<benchmark>/<label>/graded.json        prompts, answers, verdicts, replies
    <workspace>/results/<benchmark>/<label>/...                the same in the protocol's formats

In file names a label is percent-encoded, so that no two labels share a file and none leaves the
folder.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.core.hardware import has_nvidia_device
from harness.core.hours import Hours
from harness.core.io import write_atomically
from harness.core.stages import Artifact, Stage, StageStore, ignore_progress
from harness.errors import StoreError
from harness.types import (
    Answer,
    Estimate,
    Graded,
    Message,
    ParsedVerdict,
    Prompt,
    Score,
    Track,
    Usage,
    Verdict,
)

RUN_RECORD = "run.json"


def run_directory(workspace: Workspace, name: str) -> Path:
    """Return where a run's record lies."""
    return workspace.root / "train" / name


def run_names(workspace: Workspace) -> list[str]:
    """List the runs of a workspace."""
    root = workspace.root / "train"
    return sorted(p.parent.relative_to(root).as_posix() for p in root.rglob(RUN_RECORD))


MAX_NAME_LENGTH = 120
GRADED_FILE = "graded.json"
RESULT_SCHEMA, OLDEST_RESULT_SCHEMA = 3, 2
"""Of the result's file, raised when its fields change; and the oldest that is read. What the second
does not tell, hours and run, is not known: it is no nought."""


@dataclass(frozen=True)
class Result:
    """One contestant on one benchmark under one judge."""

    benchmark: str
    label: str
    baseline: str
    """Whom it was compared with."""
    judge: str
    """The judge as it was asked for."""
    judges_served: tuple[str, ...]
    """What the server said it served; empty where nothing had to be judged."""
    score: Score
    """Without its items where it was read from a file; those lie beside it."""
    answers: int
    missing: int
    """Prompts without an answer: left out."""
    mean_length: float | None
    """Of the answers, in code points; None where a file held verdicts alone."""
    finish_reasons: Mapping[str, int]
    """How many answers ended by `stop`, at the token limit (`length`), or `unknown`."""
    truncated: float | None
    """The share that ended at the token limit; None where that is not known."""
    requests: int
    """Verdicts that the score is made of, unread ones included; equal answers need none."""
    new_requests: int
    """How many of them were asked now; the others were in the store."""
    versions: Mapping[str, str]
    answers_sha256: str
    judge_settings: Mapping[str, Any]
    """What the judge was asked with (temperature, max_tokens, ...); empty for a file's verdicts."""
    sources: Mapping[str, str]
    """The sha256 of the protocol's own texts by name."""
    generation: Mapping[str, Any]
    """How the answers were made: engine, seed, chat template; empty for a file's."""
    usage: Usage | None = None
    """What the verdicts have cost, asking again included; None for a file's."""
    hours: Mapping[str, Hours] | None = None
    """How long machines have trained (`training`) and answered (`answering`), see `hours`; None
    where that is not known."""
    run: Mapping[str, Any] | None = None
    """Which made the policy: its `name`, `method`, `iteration`, `base`; None: not known."""
    schema: int = field(default=RESULT_SCHEMA)


def result_path(workspace: Workspace, benchmark: str, label: str) -> Path:
    """Return where a result lies; what lies beside it is in the folder without `.json`."""
    name = quote(label, safe=" +,@()=", errors="replace")
    name = re.sub(r"^\.|\.(?=json$)", "%2E", name) or "%"
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[:MAX_NAME_LENGTH]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
    return workspace.root / "results" / quote(benchmark, safe="") / f"{name}.json"


def write_result(
    workspace: Workspace, result: Result, graded: Graded, files: Mapping[str, str]
) -> Path:
    """Write a result and what lies beside it; return the result's path.

    Raises:
        StoreError: the disk is full or not writable.
    """
    path = result_path(workspace, result.benchmark, result.label)
    details = path.with_suffix("")
    _write_json(details / "items.json", list(result.score.items))
    _write_json(details / GRADED_FILE, asdict(graded))
    write_files(details, files)
    _write_json(path, asdict(replace(result, score=replace(result.score, items=()))))
    return path


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write texts by file name under a folder; return their paths.

    Raises:
        StoreError: the disk is full or not writable.
    """
    for name, text in files.items():
        write_atomically(folder / name, text)
    return [folder / name for name in files]


def read_graded(path: Path) -> Graded:
    """Read what a result was made of: prompts, answers, verdicts.

    Raises:
        StoreError: the file is missing or damaged.
    """
    graded_path = path.with_suffix("") / GRADED_FILE
    try:
        data = json.loads(graded_path.read_text(encoding="utf-8"))
        data["answers"] = tuple(Answer(**row) for row in data["answers"])
        data["baseline"] = tuple(Answer(**row) for row in data["baseline"])
        data["prompts"] = tuple(_parse_prompt(row) for row in data["prompts"])
        data["verdicts"] = tuple(_parse_verdict(row) for row in data["verdicts"])
        return Graded(**{**data, "notes": tuple(data["notes"])})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(
            f"{graded_path} cannot be read ({error}): run the evaluation again"
        ) from error


def _parse_prompt(row: Mapping[str, Any]) -> Prompt:
    return Prompt(**{**row, "messages": tuple(Message(**turn) for turn in row["messages"])})


def _parse_verdict(row: Mapping[str, Any]) -> Verdict:
    parsed = None if row["parsed"] is None else ParsedVerdict(**row["parsed"])
    return Verdict(**{**row, "parsed": parsed})


def read_result(path: Path) -> Result:
    """Read a result, without its items.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        score = data["score"]
        score["estimates"] = {k: Estimate(**v) for k, v in score["estimates"].items()}
        score["notes"], score["items"] = tuple(score["notes"]), ()
        data["judges_served"] = tuple(data["judges_served"])
        if not OLDEST_RESULT_SCHEMA <= (schema := data.get("schema", 1)) <= RESULT_SCHEMA:
            raise ValueError(
                f"its schema is {schema}, this version reads {OLDEST_RESULT_SCHEMA} to {RESULT_SCHEMA}"
            )
        if data.get("bill") is not None:
            data["bill"] = Usage(**data["bill"])
        return Result(**{**data, "score": Score(**score)})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the evaluation again") from error


def _write_json(path: Path, data: Any) -> None:
    write_atomically(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


@dataclass(frozen=True)
class Workspace:
    """Where results live, and how the user is told that something takes its time."""

    root: Path
    track: Track = ignore_progress
    on_stage: Callable[[Stage, Artifact], None] = lambda stage, artifact: None
    isolate: bool = field(default_factory=has_nvidia_device)

    @functools.cached_property
    def stages(self) -> StageStore:
        """The stages of every run in this workspace."""
        return StageStore(self.root / "stages", self.track, self.on_stage, self.isolate)

    @property
    def verdicts(self) -> Path:
        """The database of every verdict that was ever given in this workspace."""
        return self.root / "verdicts.sqlite"


@dataclass(frozen=True)
class Run:
    """A run that has begun or ended."""

    name: str
    method: str
    config: dict[str, Any]
    policies: list[str]
    """The weights of π_1, π_2, ...: as many as stand."""
    complete: bool
    versions: dict[str, str]

    def policy(self, iteration: int | None) -> str:
        """Return where the weights after an iteration lie."""
        if iteration is None and not self.complete:
            raise StoreError(
                f"run {self.name!r} has not ended ({len(self.policies) - 1} iterations stand): "
                "run its command again, or name an iteration, e.g. --run NAME@1"
            )
        index = len(self.policies) - 1 if iteration is None else iteration
        if not 0 <= index < len(self.policies):
            raise StoreError(f"run {self.name!r} has iterations 0 to {len(self.policies) - 1}")
        return self.policies[index]


def read_run(workspace: Workspace, name: str) -> Run | None:
    """Return a run's record; None where there is none.

    Raises:
        StoreError: the record is damaged.
    """
    path = run_directory(workspace, name) / RUN_RECORD
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it and run again") from error


def write_run(workspace: Workspace, run: Run) -> None:
    """Write a run's record."""
    text = json.dumps(vars(run), indent=1, sort_keys=True)
    write_atomically(run_directory(workspace, run.name) / RUN_RECORD, text + "\n")
