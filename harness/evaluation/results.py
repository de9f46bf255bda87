"""What an evaluation leaves behind: a result, and beside it what it is made of.

    <workspace>/results/<benchmark>/<label>.json               the result, written last
    <workspace>/results/<benchmark>/<label>/items.json         one row a prompt
    <workspace>/results/<benchmark>/<label>/graded.json        prompts, answers, verdicts, replies
    <workspace>/results/<benchmark>/<label>/...                the same in the protocol's formats

In file names a label is percent-encoded, so that no two labels share a file and none leaves the
folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.errors import StoreError
from harness.files import write_whole
from harness.runs import Workspace
from harness.types import Estimate, Graded, Score

LONGEST = 120
SCHEMA = 2
"""Of the result's file; raised when its fields change."""


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
    mean_length: float
    """Of the answers, in code points."""
    finish_reasons: Mapping[str, int]
    """How many answers ended by `stop`, at the token limit (`length`), or `unknown`."""
    truncated: float | None
    """The share that ended at the token limit; None where that is not known."""
    requests: int
    """Verdicts that the score is made of, unread ones included; equal answers need none."""
    asked: int
    """How many of them were asked now; the others were in the store."""
    versions: Mapping[str, str]
    answers_sha256: str
    sources: Mapping[str, str]
    """The sha256 of the protocol's own texts by name."""
    answered: Mapping[str, Any]
    """How the answers were made: engine, seed, chat template; empty for a file's."""
    schema: int = field(default=SCHEMA)


def path_of(workspace: Workspace, benchmark: str, label: str) -> Path:
    """Return where a result lies; what lies beside it is in the folder without `.json`."""
    name = quote(label, safe=" +,@()=", errors="replace")
    name = re.sub(r"^\.|\.(?=json$)", "%2E", name)
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
    return workspace.root / "results" / quote(benchmark, safe="") / f"{name}.json"


def write(workspace: Workspace, result: Result, graded: Graded, files: Mapping[str, str]) -> Path:
    """Write a result and what lies beside it; return the result's path.

    Raises:
        StoreError: the disk is full or not writable.
    """
    path = path_of(workspace, result.benchmark, result.label)
    beside = path.with_suffix("")
    _dump(beside / "items.json", list(result.score.items))
    _dump(beside / "graded.json", asdict(graded))
    for name, text in files.items():
        write_whole(beside / name, text)
    _dump(path, asdict(replace(result, score=replace(result.score, items=()))))
    return path


def read(path: Path) -> Result:
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
        if (schema := data.get("schema", 1)) != SCHEMA:
            raise ValueError(f"its schema is {schema}, this version reads {SCHEMA}")
        return Result(**{**data, "score": Score(**score)})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the evaluation again") from error


def _dump(path: Path, data: Any) -> None:
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
