"""Results of evaluations as they are read: figures, values by prompt, and the verdicts behind them.

Since schema 5 a result holds its identity, the sha256 of the files beside it, and its own; what was
changed since is refused. Files of the schemas 1 to 4 hold none of these. Those of 1 to 3 are read
through one map of their keys, `RENAMED_KEYS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.documents import parse_json
from harness.core.hardware import CPU
from harness.core.hours import Hours
from harness.core.seeds import canonical_json, digest
from harness.core.workspace.integrity import SUM, check_file, check_record
from harness.core.workspace.runs import Workspace
from harness.errors import StoreError
from harness.types import (
    Answer,
    Estimate,
    Graded,
    Message,
    ParsedVerdict,
    Prompt,
    Score,
    Usage,
    Verdict,
)

RESULT_SCHEMA = 5
"""Of the result's file: raised when its fields change. The schemas 1 and 2 lack hours and run,
which are unknown then, not zero; those before 5 lack the identity and the sums."""
SUMS_SCHEMA = 5
"""The first schema with sums."""
GRADED_FILE, ITEMS_FILE, BRIDGES = "graded.json", "items.json", "bridge"
IDENTITY_SUM = "identity_sha256"
"""The key of the identity's digest in a result's file."""
REMEDY = "run `harness eval` again, or remove it"

RENAMED_KEYS = {
    "asked": "new_requests",
    "judged_with": "judge_settings",
    "answered": "generation",
    "bill": "usage",
}
"""By the key of a result of schema 3 or older: its key since."""
RENAMED_COUNTS = {"unread": "unparsed"}
"""The same for a score's counts, an item, and what verdicts have cost."""
RENAMED_DEVICES = {"processor": CPU}
"""The same for the devices of hours."""
FIRST_SCHEMA: Mapping[str, Any] = {
    "baseline": "",
    "finish_reasons": {},
    "truncated": None,
    "requests": 0,
    "new_requests": 0,
    "versions": {},
    "answers_sha256": "",
    "judge_settings": {},
    "sources": {},
    "generation": {},
}
"""What a result of the first schema does not hold."""

Item = Mapping[str, Any]
"""One row of a result's per-prompt values; `prompt_id` is always there."""


@dataclass(frozen=True)
class Result:
    """One contestant on one benchmark under one judge."""

    benchmark: str
    label: str
    baseline: str
    """The contestant that it was compared with; empty where answers are rated alone."""
    judge: str
    """The judge as it was requested."""
    judges_served: tuple[str, ...]
    """The models that the server reports; empty where nothing had to be judged."""
    score: Score
    """Without its items where it was read from a file; `read_items` has them."""
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
    """Verdicts that the score rests on, unparsed ones included; equal answers need none."""
    new_requests: int
    """How many of them were sent in this run; the others were cached."""
    versions: Mapping[str, str]
    answers_sha256: str
    judge_settings: Mapping[str, Any]
    """The judge's sampling settings (temperature, max_tokens, ...); empty for a file's verdicts."""
    sources: Mapping[str, str]
    """The sha256 of the protocol's own texts by name."""
    generation: Mapping[str, Any]
    """How the answers were generated: engine, seed, chat template; empty for a file's."""
    usage: Usage | None = None
    """What the verdicts have cost, retries included; None for a file's."""
    hours: Mapping[str, Hours] | None = None
    """Hours of `training` and of `answering` by device, see `harness.core.hours`; None where they
    are not known."""
    run: Mapping[str, Any] | None = None
    """The run behind the policy: `name`, `method`, `iteration`, `base`, ...; None: not known."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What was measured, each part with its settings: `benchmark`, `contestant`, `judge` and
    `baseline`; empty where it is not known."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The sha256 of the files beside it, by name; empty where they are not known."""
    schema: int = field(default=RESULT_SCHEMA)

    @property
    def identity_sha256(self) -> str:
        """The digest of the identity; empty where it is not known."""
        return digest(self.identity) if self.identity else ""


def result_paths(workspace: Workspace) -> list[Path]:
    """Return the paths of all results, in the order of benchmark and label."""
    paths = (workspace.root / "results").glob("*/*.json")
    return sorted(path for path in paths if path.parent.name != BRIDGES)


def items_path(path: Path) -> Path:
    """Return the path of a result's per-prompt values."""
    return path.with_suffix("") / ITEMS_FILE


def graded_path(path: Path) -> Path:
    """Return the path of what a result was computed from: prompts, answers, verdicts."""
    return path.with_suffix("") / GRADED_FILE


def bridge_directory(workspace: Workspace) -> Path:
    """Return the directory of the comparisons of two judges."""
    return workspace.root / "results" / BRIDGES


def read_result(path: Path) -> Result:
    """Read a result of any schema, without its items.

    Raises:
        StoreError: the file is missing or damaged, was changed after it was written, or a newer
            version wrote it.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        schema = data.get("schema", 1)
        if schema <= RESULT_SCHEMA and (schema >= SUMS_SCHEMA or SUM in data):
            check_record(path, data, REMEDY)
        result = parse_result(data, schema) if schema <= RESULT_SCHEMA else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged_result(path, error) from error
    if result is None:
        raise StoreError(
            f"{path} was written by a newer version (schema {schema}, this one reads up to "
            f"{RESULT_SCHEMA}): use that version, or remove it and run `harness eval` again"
        )
    return result


def damaged_result(path: Path, error: Exception) -> StoreError:
    """Return the error of a result's file that does not hold what it should."""
    return StoreError(f"{path} is damaged ({error}); remove it and run `harness eval` again")


def check_files(path: Path, result: Result, *names: str) -> None:
    """Refuse a result some of whose files were changed after it was written.

    A file that was removed is no fault: a result may go without its items and its verdicts.

    Args:
        path: the result's file.
        result: its content.
        names: of the files beside it; none: all.

    Raises:
        StoreError: a file is not the one that the result records.
    """
    folder = path.with_suffix("")
    for name, expected in result.files.items():
        if name in (names or result.files) and (folder / name).exists():
            check_file(folder / name, expected, REMEDY)


def _check_beside(path: Path) -> None:
    """Refuse a file beside a result that is not the one that the result records."""
    record = path.parent.with_name(f"{path.parent.name}.json")
    if record.is_file():
        check_files(record, read_result(record), path.name)


def read_items(path: Path) -> list[Item]:
    """Read a file of per-prompt values, one row a prompt or game; see `items_path`.

    Raises:
        StoreError: the file is missing or damaged, or was changed after it was written.
    """
    _check_beside(path)
    try:
        items = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(items, list):
            raise TypeError("not a list")
        return [_rename({**item, "prompt_id": _text(item["prompt_id"])}) for item in items]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise damaged_items(path, error) from error


def damaged_items(path: Path, error: Exception) -> StoreError:
    """Return the error of a file of per-prompt values that does not hold what it should."""
    return StoreError(
        f"{path} is damaged ({error}); run `harness eval` again, or remove it to go "
        "without per-prompt values and paired tests"
    )


def read_graded(path: Path) -> Graded:
    """Read what the result at a path was computed from: prompts, answers, verdicts.

    Raises:
        StoreError: the file is missing or damaged, or was changed after it was written.
    """
    _check_beside(graded_path(path))
    try:
        data = parse_json(graded_path(path).read_text(encoding="utf-8"))
        data["answers"] = tuple(_parse_answer(row) for row in data["answers"])
        data["baseline"] = tuple(_parse_answer(row) for row in data["baseline"])
        data["prompts"] = tuple(_parse_prompt(row) for row in data["prompts"])
        data["verdicts"] = tuple(_parse_verdict(row) for row in data["verdicts"])
        return Graded(**{**data, "notes": tuple(data["notes"])})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{graded_path(path)} is damaged ({error}); run `harness eval` again, or remove it to "
            "go without its comparisons"
        ) from error


def read_bridge(path: Path) -> dict[str, Any]:
    """Read a comparison of two judges as plain data.

    Raises:
        OSError: the file is missing.
        ValueError: the file is not JSON.
        TypeError: it holds something else.
        KeyError: it lacks the models.
        StoreError: it was changed after it was written.
    """
    data: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
    if "schema" in data:
        check_record(path, data, "run `harness judge bridge` again, or remove it")
    data["models"] = [_rename(row) for row in data["models"]]
    return {**data, "cost": _rename(data.get("cost") or {})}


def parse_result(data: dict[str, Any], schema: int) -> Result:
    """Return a result from the content of its file, without looking at its sum.

    Raises:
        LookupError: a field is missing.
        TypeError: a field is of another type, or unknown.
        ValueError: a number is not finite.
    """
    data = _rename(data, RENAMED_KEYS)
    if schema == 1:
        data = {**FIRST_SCHEMA, **data}
    for name in ("benchmark", "label", "baseline", "judge"):
        _text(data[name])
    for name in ("finish_reasons", "versions", "judge_settings", "sources", "generation"):
        _mapping(data[name])
    canonical_json(data["judge_settings"])  # raises where it is not plain data
    data["judges_served"] = tuple(_text(name) for name in data["judges_served"])
    data["score"] = _parse_score(data["score"])
    if data.get("usage") is not None:
        data["usage"] = Usage(**_rename(data["usage"]))
    if data.get("hours") is not None:
        data["hours"] = {name: _parse_hours(part) for name, part in data["hours"].items()}
    for name in (SUM, IDENTITY_SUM):
        data.pop(name, None)
    _mapping(data.get("identity", {}))
    if not all(isinstance(value, str) for value in _mapping(data.get("files", {})).values()):
        raise TypeError("the sha256 of its files are texts")
    return Result(**{**data, "schema": schema})


def _parse_score(data: Mapping[str, Any]) -> Score:
    estimates = {name: _parse_estimate(part) for name, part in data["estimates"].items()}
    counts = _rename(data["counts"])
    if not all(isinstance(count, int | float) for count in counts.values()):
        raise TypeError(f"{counts} are not counts")
    notes = tuple(_text(note) for note in data.get("notes", ()))
    return Score(estimates, counts, (), notes, _mapping(data.get("details", {})))


def _parse_estimate(data: Mapping[str, Any]) -> Estimate:
    estimate = Estimate(**data)
    parts = (estimate.low, estimate.high, estimate.standard_error)
    known = [estimate.value, *(part for part in parts if part is not None)]
    if not all(math.isfinite(part) for part in known):
        raise ValueError(f"{data} is not a figure")
    return estimate


def _parse_hours(part: Mapping[str, float]) -> Hours:
    hours = {name: float(value) for name, value in _rename(part, RENAMED_DEVICES).items()}
    if not all(0 <= value < math.inf for value in hours.values()):
        raise ValueError(f"{part} are not hours")
    return hours


def _parse_answer(row: Mapping[str, Any]) -> Answer:
    answer = Answer(**row)
    _text(answer.prompt_id), _text(answer.text)
    return answer


def _parse_prompt(row: Mapping[str, Any]) -> Prompt:
    prompt = Prompt(**{**row, "messages": tuple(Message(**turn) for turn in row["messages"])})
    _text(prompt.id)
    for message in prompt.messages:
        _text(message.role), _text(message.content)
    return prompt


def _parse_verdict(row: Mapping[str, Any]) -> Verdict:
    row = _rename(row, {"reading": "parsed"})
    parsed = None if row["parsed"] is None else ParsedVerdict(**row["parsed"])
    verdict = Verdict(**{**row, "parsed": parsed})
    for text in (verdict.request_id, verdict.model, verdict.text, parsed.label if parsed else ""):
        _text(text)
    return verdict


def _rename(data: Mapping[str, Any], renamed: Mapping[str, str] = RENAMED_COUNTS) -> dict[str, Any]:
    return {renamed.get(_text(name), name): value for name, value in data.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is not a mapping")
    return value
