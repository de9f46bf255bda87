"""Results as they are written: a file for each identity, and none overwrites another.

`<label>.json` holds the first identity under a label, `<label>~<8 digits of its digest>.json` any
other; the label inside is what tables print. A result of the same identity is written to its file
again if figures, counts, answers and items are the same, and is refused if they are not. What an
evaluation has cost (hours, usage, new requests), its notes and the versions may differ: the file
holds those of the last one, and `usage` counts all calls that the verdicts have ever taken.

Labels are percent-encoded in file names, so that no two labels share a file and none leaves the
directory.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.core.documents import parse_json
from harness.core.io import file_name, report_disk_errors, sha256, write_atomically
from harness.core.seeds import digest
from harness.core.workspace.integrity import with_sum
from harness.core.workspace.results import (
    IDENTITY_SUM,
    RESULT_SCHEMA,
    SUMS_SCHEMA,
    Result,
    check_files,
    damaged_result,
    graded_path,
    items_path,
    parse_result,
    read_items,
    read_result,
)
from harness.core.workspace.runs import Workspace
from harness.errors import ResultExistsError, StoreError
from harness.types import Estimate, Graded

MAX_NAME_LENGTH = 120
SUFFIX_DIGITS = (8, 16, 64)
"""Digits of an identity's digest in a file's name; more where fewer are taken by another."""
SHOWN_DIFFERENCES = 3
TOLERANCE = 1e-6
"""The difference between two figures, relative or in points, that is rounding of another CPU."""


def result_path(
    workspace: Workspace, benchmark: str, label: str, identity: Mapping[str, Any] | None = None
) -> Path:
    """Return the path of a result's file.

    Args:
        workspace: where it is.
        benchmark: the benchmark's name.
        label: the contestant's name in tables.
        identity: what was measured; None: the first result under that label.

    Raises:
        StoreError: a file under that label cannot be read, so that nobody knows what it holds.
    """
    name = file_name(label).replace("~", "%7E")
    name = re.sub(r"\.(?=json$)", "%2E", name) or "%"
    if len(name) > MAX_NAME_LENGTH:
        name = f"{name[:MAX_NAME_LENGTH]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
    folder = workspace.root / "results" / quote(benchmark, safe="")
    first = folder / f"{name}.json"
    if identity is None:
        return first
    return file_of(first, identity, lambda data: _is_described(data, identity))


def file_of(
    first: Path,
    identity: Mapping[str, Any],
    is_described: Callable[[dict[str, Any]], bool] = lambda _: False,
) -> Path:
    """Return the file of an identity: the one that holds it, or else the first that is free.

    Args:
        first: the file of the first identity under a name.
        identity: of what is to be read or written.
        is_described: whether the content of a file of an older schema, which holds no identity, has
            this one.

    Raises:
        StoreError: a file under that name cannot be read.
    """
    suffixes = ["", *(f"~{digest(identity)[:digits]}" for digits in SUFFIX_DIGITS)]
    paths = [first.with_name(f"{first.name.removesuffix('.json')}{s}.json") for s in suffixes]
    free = [path for path in paths if not path.exists()]
    for path in paths:
        if path.exists() and _holds(path, identity, is_described):
            return path
    return free[0]


def write_result(
    workspace: Workspace,
    result: Result,
    graded: Graded,
    files: Mapping[str, str],
    *,
    replace: bool = False,
) -> Path:
    """Write a result after the files beside it; return its path.

    Args:
        workspace: where it is written.
        result: with its identity.
        graded: what it was computed from.
        files: texts in the protocol's own formats by file name.
        replace: whether a result of the same identity and other content is overwritten.

    Raises:
        ResultExistsError: there is a result of the same identity and other content.
        StoreError: the disk is full or not writable, or a file under that label cannot be read.
    """
    with _locked(workspace.root / "results"):
        path = result_path(workspace, result.benchmark, result.label, result.identity)
        if path.exists() and not replace:
            _check_same_content(path, result)
        folder = path.with_suffix("")
        _write_json(items_path(path), list(result.score.items))
        _write_json(graded_path(path), asdict(graded))
        written = [items_path(path), graded_path(path), *write_files(folder, files)]
        sums = {file.relative_to(folder).as_posix(): sha256(file) for file in written}
        score = dataclasses.replace(result.score, items=())
        record = asdict(dataclasses.replace(result, score=score, files=sums))
        _write_json(path, with_sum(record | {IDENTITY_SUM: result.identity_sha256}))
        return path


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write texts by file name under a folder; return their paths.

    Raises:
        StoreError: the disk is full or not writable.
    """
    for name, text in files.items():
        write_atomically(folder / name, text)
    return [folder / name for name in files]


def _write_json(path: Path, data: Any) -> None:
    write_atomically(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that two evaluations do not take the same free name."""
    with report_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _holds(
    path: Path, identity: Mapping[str, Any], is_described: Callable[[dict[str, Any]], bool]
) -> bool:
    """Return whether a file has an identity, even if it was changed by hand."""
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        schema = data.get("schema", 1)
        if schema < SUMS_SCHEMA:
            return is_described(data)
        return schema <= RESULT_SCHEMA and digest(data["identity"]) == digest(identity)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged_result(path, error) from error


def _is_described(data: dict[str, Any], identity: Mapping[str, Any]) -> bool:
    """Return whether a result without an identity agrees with one in all that it tells."""
    older = parse_result(data, data.get("schema", 1))
    benchmark, judge, baseline = (identity.get(n, {}) for n in ("benchmark", "judge", "baseline"))
    contestant = identity.get("contestant", {})
    run, recorded = contestant.get("run"), older.run or {}
    if run is None:
        is_same = not recorded and older.answers_sha256 == contestant.get("answers_sha256")
    else:
        is_same = bool(recorded) and all(
            run.get(key) == recorded.get(key, run.get(key)) for key in run
        )
    return (
        is_same
        and (older.judge, older.baseline) == (judge.get("model"), baseline.get("label"))
        and older.judge_settings in ({}, judge.get("settings"))
        and older.sources in ({}, benchmark.get("sources"))
    )


def _check_same_content(path: Path, result: Result) -> None:
    try:
        recorded = read_result(path)
    except StoreError:  # it was changed by hand: the same evaluation mends it
        return
    if differences := content_differences(path, recorded, result):
        more = ", ..." if len(differences) > SHOWN_DIFFERENCES else ""
        raise ResultExistsError(
            f"{path} holds another result of the same evaluation "
            f"({', '.join(differences[:SHOWN_DIFFERENCES])}{more}): keep both with --label, or "
            "overwrite it with --replace"
        )


def content_differences(path: Path, old: Result, new: Result) -> list[str]:
    """Return in words what differs between two results of one identity: figures, counts, answers.

    Args:
        path: of the old result, whose items are read if they are there.
        old: the recorded result.
        new: the result of the same evaluation, with its items.
    """
    differences = []
    if old.answers_sha256 not in ("", new.answers_sha256):
        differences.append("other answers")
    if old.judges_served != new.judges_served:
        served = (", ".join(names) or "nobody" for names in (old.judges_served, new.judges_served))
        differences.append("graded by {} and now by {}".format(*served))
    for name in {**old.score.estimates, **new.score.estimates}:
        before, after = (_figure(result, name) for result in (old, new))
        if not _is_close(before and asdict(before), after and asdict(after)):
            differences.append(f"{name} {_text(before)} → {_text(after)}")
    for name in {**old.score.counts, **new.score.counts}:
        counts = [result.score.counts.get(name) for result in (old, new)]
        if not _is_close(*counts):
            differences.append("{} {} → {}".format(name, *counts))
    return differences or _item_differences(path, old, new)


def _item_differences(path: Path, old: Result, new: Result) -> list[str]:
    try:
        check_files(path, old)
        recorded = read_items(items_path(path)) if items_path(path).exists() else None
    except StoreError:  # changed by hand: the same evaluation mends it
        return []
    items = json.loads(json.dumps(list(new.score.items)))
    if recorded is None or _is_close(recorded, items):
        return []
    pairs = zip(recorded, items, strict=False)
    count = sum(not _is_close(*pair) for pair in pairs) + abs(len(recorded) - len(items))
    return [f"other values of {count} prompts"]


def _figure(result: Result, name: str) -> Estimate | None:
    return result.score.estimates.get(name)


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return "unknown"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _is_close(old: Any, new: Any) -> bool:
    """Return whether plain data is the same but for the rounding of floats."""
    match old, new:
        case dict(), dict():
            return old.keys() == new.keys() and all(_is_close(old[k], new[k]) for k in old)
        case list(), list():
            return len(old) == len(new) and all(map(_is_close, old, new))
        case ((int() | float()), (int() | float())):
            return math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(old == new)
