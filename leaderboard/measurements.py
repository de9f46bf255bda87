"""Rows of measured results: those of a workspace, joined with the runs behind their policies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.config import without_locations
from harness.core.hours import Hours
from harness.core.seeds import config_digest, digest
from harness.core.workspace import (
    GRADED_FILE,
    ITEMS_FILE,
    Result,
    Run,
    Workspace,
    check_files,
    damaged_result,
    items_path,
    read_result,
    read_runs,
    result_paths,
)
from harness.errors import StoreError
from leaderboard.groups import flatten
from leaderboard.labels import distinguish
from leaderboard.rows import Row

ANNOTATORS = {"weighted_alpaca_eval_gpt4_turbo": "gpt-4-1106-preview"}
"""By alpaca_eval's name of a judge: the model that its configuration requests."""
STYLE_SUFFIX = "style_controlled_win_rate"
STYLE_SCHEMA = 3
"""The first schema of results whose style-controlled figures are at the baseline's style; before,
they were at the model's own, and figures of the two kinds do not compare."""
OUTDATED_NOTE = (
    "has style-controlled figures of an older version; they are left out: remove it and run "
    "`harness eval` again"
)
RUN_TEXTS = {"run": "name", "method": "method", "base": "base"}
"""By field of a row: its key in a result's `run`."""
ITERATION = re.compile(r"(.+) \(iteration (\d+)\)")


@dataclass(frozen=True, slots=True)
class MeasuredRows:
    """The rows of a workspace, and messages about results that are left out."""

    rows: tuple[Row, ...]
    messages: tuple[str, ...] = ()


def read_rows(root: Path, *, required: bool = True) -> MeasuredRows:
    """Read every result of a workspace, in the order of benchmark and label.

    Results of one label are told apart by what differs, see `leaderboard.labels`. A result without
    any verdict is left out, with a message.

    Args:
        root: The workspace's directory.
        required: Whether it is an error that there are no results.

    Raises:
        StoreError: no result has a verdict, or a file is damaged, was changed after it was written,
            or is of a newer version.
    """
    workspace = Workspace(root, isolate=False)
    results = root / "results"
    paths = result_paths(workspace)
    if not paths and not required:
        return MeasuredRows(())
    if not paths:
        raise StoreError(f"no results in {results}: run `harness demo` or `harness eval` first")
    rows = [_load_row(path, path.relative_to(results).as_posix()) for path in paths]
    messages = [f"{r.source} holds no verdicts and is left out" for r in rows if not r.estimates]
    messages += [f"{r.source} {OUTDATED_NOTE}" for r in rows if OUTDATED_NOTE in r.notes]
    judged = [row for row in rows if row.estimates]
    if not judged and required:
        raise StoreError(f"no result in {results} holds a verdict: run `harness eval` again")
    runs = read_runs(workspace)
    known = [_with_configuration(_with_run(row, runs), runs) for row in judged]
    return MeasuredRows(tuple(distinguish(known)), tuple(messages))


def _load_row(path: Path, source: str) -> Row:
    result = read_result(path)
    check_files(path, result, ITEMS_FILE, GRADED_FILE)
    try:
        row = result_row(result, source)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged_result(path, error) from error
    items = items_path(path)
    return replace(row, items=items if items.is_file() else None)


def result_row(result: Result, source: str) -> Row:
    """Return a result's row; `source` is its path in the workspace's results.

    Raises:
        LookupError: the run that it names lacks a field.
        TypeError: a setting is not of its type.
        ValueError: a number cannot be read.
    """
    scoring = str(result.score.details.get("compat") or "")
    estimates, counts = result.score.estimates, result.score.counts
    is_outdated = result.schema < STYLE_SCHEMA and scoring != "upstream"
    outdated = {name for name in estimates if is_outdated and name.endswith(STYLE_SUFFIX)}
    judges = [ANNOTATORS.get(name, name) for name in result.judges_served or (result.judge,)]
    return Row(
        label=result.label,
        benchmark=result.benchmark,
        judge=", ".join(judges),
        estimates={name: part for name, part in estimates.items() if name not in outdated},
        prompt_count=counts.get("asked", 0) + result.missing,
        judged_count=counts.get("judged", counts.get("scored", 0)),
        mean_length=_number(result.mean_length),
        source=source,
        baseline=result.baseline,
        protocol=digest(result.sources) if result.sources else "",
        scoring=scoring,
        tokens=_mean_tokens(result),
        truncated=_number(result.truncated),
        dollars=_number(result.usage.dollars) if result.usage else None,
        hours=_total_hours(result.hours),
        **_run_fields(result.run or {}),
        judge_settings=result.judge_settings,
        identity=result.identity or _known_identity(result),
        versions=result.versions,
        notes=(*result.score.notes, *((OUTDATED_NOTE,) if outdated else ())),
    )


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _mean_tokens(result: Result) -> float | None:
    """Return tokens an answer, by the benchmark's count or else by the policy's tokenizer."""
    tokens = result.score.counts.get("avg_tokens")
    if tokens is None and result.generation.get("tokens") and result.answers:
        tokens = result.generation["tokens"] / result.answers
    return _number(tokens)


def _total_hours(parts: Mapping[str, Hours] | None) -> dict[str, float] | None:
    """Return the hours of training and answering together, by device."""
    if parts is None:
        return None
    totals: Counter[str] = Counter()
    for part in parts.values():
        totals.update(part)
    return dict(totals)


def _run_fields(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's fields about the run behind the policy, as the result records them."""
    if not run:
        return {}
    seed = run.get("seed")
    return {
        **{key: _text(run[name]) for key, name in RUN_TEXTS.items()},
        "iteration": int(run["iteration"]),
        "seed": None if seed is None else int(seed),
        "setting": _text(run.get("setting", "")),
        "configuration": flatten(run.get("config") or {}),
    }


def _known_identity(result: Result) -> dict[str, Any]:
    """Return what a result of an older schema tells of its identity."""
    contestant = {"answers_sha256": result.answers_sha256} if result.answers_sha256 else {}
    return {"contestant": contestant, "judge": {"model": result.judge}}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a name")
    return value


def _with_run(row: Row, runs: Sequence[Run]) -> Row:
    """Add base, method and iteration where the result lacks them; the run if only one fits."""
    if row.run:
        return row
    match = ITERATION.fullmatch(row.label)
    method = match[1] if match else row.label
    matches = [run for run in runs if run.method == method]
    bases = {run.base for run in matches}
    if not matches:
        is_start = row.label in {run.base for run in runs}
        return replace(row, base=row.label, iteration=0) if is_start else row
    last = max(0, len(matches[0].policies) - 1)
    return replace(
        row,
        method=method,
        iteration=int(match[2]) if match else last if len(matches) == 1 else None,
        run=matches[0].name if len(matches) == 1 else "",
        base=bases.pop() if len(bases) == 1 else "",
    )


def _with_configuration(row: Row, runs: Sequence[Run]) -> Row:
    """Add the settings of the run where the result lacks them and the run's record has them."""
    if row.configuration or not row.run:
        return row
    matches = [run for run in runs if run.name == row.run]
    if not matches:
        return row
    settings = {key: value for key, value in matches[0].config.items() if key != "seed"}
    is_same = row.setting in ("", config_digest(without_locations(settings)), digest(settings))
    configuration = flatten(without_locations(matches[0].config))
    return replace(row, configuration=configuration) if is_same else row
