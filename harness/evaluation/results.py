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
from harness.evaluation import audit
from harness.evaluation.hours import Hours
from harness.files import write_whole
from harness.protocols import Benchmark
from harness.runs import Workspace, versions
from harness.seeds import digest
from harness.types import Answer, Bill, Estimate, Graded, Message, Prompt, Reading, Score, Verdict

LONGEST = 120
GRADED = "graded.json"
SCHEMA, OLDEST = 3, 2
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
    asked: int
    """How many of them were asked now; the others were in the store."""
    versions: Mapping[str, str]
    answers_sha256: str
    judged_with: Mapping[str, Any]
    """What the judge was asked with (temperature, max_tokens, ...); empty for a file's verdicts."""
    sources: Mapping[str, str]
    """The sha256 of the protocol's own texts by name."""
    answered: Mapping[str, Any]
    """How the answers were made: engine, seed, chat template; empty for a file's."""
    bill: Bill | None = None
    """What the verdicts have cost, asking again included; None for a file's."""
    hours: Mapping[str, Hours] | None = None
    """How long machines have trained (`training`) and answered (`answering`), see `hours`; None
    where that is not known."""
    run: Mapping[str, Any] | None = None
    """Which made the policy: its `name`, `method`, `iteration`, `base`; None: not known."""
    schema: int = field(default=SCHEMA)


def path_of(workspace: Workspace, benchmark: str, label: str) -> Path:
    """Return where a result lies; what lies beside it is in the folder without `.json`."""
    name = quote(label, safe=" +,@()=", errors="replace")
    name = re.sub(r"^\.|\.(?=json$)", "%2E", name) or "%"
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
    return workspace.root / "results" / quote(benchmark, safe="") / f"{name}.json"


def result(
    benchmark: Benchmark,
    graded: Graded,
    score: Score,
    *,
    missing: int = 0,
    asked: int = 0,
    answered: Mapping[str, Any] | None = None,
    judged_with: Mapping[str, Any] | None = None,
    bill: Bill | None = None,
    hours: Mapping[str, Hours] | None = None,
    run: Mapping[str, Any] | None = None,
) -> Result:
    """Put together what is filed of a contestant."""
    lengths = [len(answer.text) for answer in graded.answers]
    return Result(
        benchmark=benchmark.name,
        label=graded.label,
        baseline=graded.baseline_label,
        judge=graded.judge,
        judges_served=tuple(sorted({v.model for v in graded.verdicts if v.model})),
        score=score,
        answers=len(lengths),
        missing=missing,
        mean_length=sum(lengths) / len(lengths) if lengths else None,
        finish_reasons=audit.finish_reasons(graded.answers),
        truncated=audit.truncated(graded.answers),
        requests=len(graded.verdicts),
        asked=asked,
        versions=versions(),
        answers_sha256=digest([[a.prompt_id, a.text] for a in graded.answers]),
        judged_with=dict(judged_with or {}),
        sources=dict(benchmark.sources()),
        answered=dict(answered or {}),
        bill=bill,
        hours=hours,
        run=run,
    )


def write(workspace: Workspace, result: Result, graded: Graded, files: Mapping[str, str]) -> Path:
    """Write a result and what lies beside it; return the result's path.

    Raises:
        StoreError: the disk is full or not writable.
    """
    path = path_of(workspace, result.benchmark, result.label)
    beside = path.with_suffix("")
    _dump(beside / "items.json", list(result.score.items))
    _dump(beside / GRADED, asdict(graded))
    write_files(beside, files)
    _dump(path, asdict(replace(result, score=replace(result.score, items=()))))
    return path


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write texts by file name under a folder; return their paths.

    Raises:
        StoreError: the disk is full or not writable.
    """
    for name, text in files.items():
        write_whole(folder / name, text)
    return [folder / name for name in files]


def read_graded(path: Path) -> Graded:
    """Read what a result was made of: prompts, answers, verdicts.

    Raises:
        StoreError: the file is missing or damaged.
    """
    beside = path.with_suffix("") / GRADED
    try:
        data = json.loads(beside.read_text(encoding="utf-8"))
        data["answers"] = tuple(Answer(**row) for row in data["answers"])
        data["baseline"] = tuple(Answer(**row) for row in data["baseline"])
        data["prompts"] = tuple(_prompt(row) for row in data["prompts"])
        data["verdicts"] = tuple(_verdict(row) for row in data["verdicts"])
        return Graded(**{**data, "notes": tuple(data["notes"])})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{beside} cannot be read ({error}): run the evaluation again") from error


def _prompt(row: Mapping[str, Any]) -> Prompt:
    return Prompt(**{**row, "messages": tuple(Message(**turn) for turn in row["messages"])})


def _verdict(row: Mapping[str, Any]) -> Verdict:
    reading = None if row["reading"] is None else Reading(**row["reading"])
    return Verdict(**{**row, "reading": reading})


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
        if not OLDEST <= (schema := data.get("schema", 1)) <= SCHEMA:
            raise ValueError(f"its schema is {schema}, this version reads {OLDEST} to {SCHEMA}")
        if data.get("bill") is not None:
            data["bill"] = Bill(**data["bill"])
        return Result(**{**data, "score": Score(**score)})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the evaluation again") from error


def _dump(path: Path, data: Any) -> None:
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
