"""What an evaluation leaves behind: a result, and beside it answers and verdicts.

    <workspace>/results/<benchmark>/<label>.json                    the result, written last
    <workspace>/results/<benchmark>/<label>/items.json              one row a prompt
    <workspace>/results/<benchmark>/<label>/model_outputs.json      answers, alpaca_eval's format
    <workspace>/results/<benchmark>/<label>/annotations.json        verdicts, alpaca_eval's format

In file names a label is percent-encoded, so that no two labels share a file and none leaves the
folder. `annotations.json` is written for benchmarks with one preference a prompt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.errors import StoreError
from harness.evaluation.answers import Answers, rows_of
from harness.files import write_whole
from harness.runs import Workspace
from harness.types import Estimate, Prompt, Score

LONGEST = 120


@dataclass(frozen=True)
class Result:
    """One contestant on one benchmark under one judge."""

    benchmark: str
    label: str
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
    requests: int
    """Verdicts that the score is made of, unread ones included; equal answers need none."""
    asked: int
    """How many of them were asked now; the others were in the store."""
    versions: Mapping[str, str]
    answers_sha256: str


def path_of(workspace: Workspace, benchmark: str, label: str) -> Path:
    """Return where a result lies; what lies beside it is in the folder without `.json`."""
    name = quote(label, safe=" +,@()=", errors="replace")
    name = re.sub(r"^\.|\.(?=json$)", "%2E", name)
    if len(name) > LONGEST:
        name = f"{name[:LONGEST]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
    return workspace.root / "results" / quote(benchmark, safe="") / f"{name}.json"


def write(
    workspace: Workspace,
    result: Result,
    answers: Answers,
    baseline: Answers,
    prompts: Sequence[Prompt],
) -> Path:
    """Write a result and what lies beside it; return the result's path.

    Raises:
        StoreError: the disk is full or not writable.
    """
    path = path_of(workspace, result.benchmark, result.label)
    beside = path.with_suffix("")
    rows = rows_of(answers, prompts)
    _dump(beside / "items.json", list(result.score.items))
    _dump(beside / "model_outputs.json", rows)
    if all("preference" in item for item in result.score.items):
        _dump(beside / "annotations.json", _annotations(result, rows, baseline))
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
        return Result(**{**data, "score": Score(**score)})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): run the evaluation again") from error


def _annotations(
    result: Result, rows: Sequence[Mapping[str, Any]], baseline: Answers
) -> list[dict[str, Any]]:
    """Return the verdicts in alpaca_eval's format: 1 the baseline's answer wins, 2 ours."""
    return [
        {
            "instruction": row["instruction"],
            "output_1": theirs.text,
            "generator_1": baseline.name,
            "dataset": row["dataset"],
            "output_2": row["output"],
            "generator_2": row["generator"],
            "annotator": result.judge,
            "preference": None if item["preference"] is None else 1 + item["preference"],
        }
        for row, theirs, item in zip(rows, baseline.answers, result.score.items, strict=True)
    ]


def _dump(path: Path, data: Any) -> None:
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
