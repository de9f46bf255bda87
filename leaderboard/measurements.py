"""Rows of what was measured: a workspace's results, joined with the runs that made the policies."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.seeds import canonical_json, digest
from harness.errors import StoreError
from harness.types import Estimate
from leaderboard.groups import SETTINGS_INDEX, group_key
from leaderboard.rows import Row

SCHEMA = 3
"""The newest layout of a result that is read; older ones tell less, and the first has no schema."""
ANNOTATORS = {"weighted_alpaca_eval_gpt4_turbo": "gpt-4-1106-preview"}
"""By the name that alpaca_eval's files give to a judge: the model that its configuration asks."""
BRIDGES = "bridge"
"""The folder beside the benchmarks' in which judges are set side by side."""
STYLE_SUFFIX = "style_controlled_win_rate"
"""How the figures end that the second layout has at a model's own style, the third at the
baseline's: they are of two kinds."""
OUTDATED_NOTE = (
    "has style-controlled figures of an older version; they are left out: run `harness eval`"
)
ITERATION = re.compile(r"(.+) \(iteration (\d+)\)")


@dataclass(frozen=True, slots=True)
class MeasuredRows:
    """The rows, and what a user must know of files that made none."""

    rows: tuple[Row, ...]
    messages: tuple[str, ...] = ()


def read_rows(workspace: Path, *, required: bool = True) -> MeasuredRows:
    """Read every result of a workspace, in the order of benchmark and label.

    A result without any verdict is left out and told of.

    Args:
        workspace: Where `harness eval` files its results.
        needed: Whether it is an error that there is none.

    Raises:
        StoreError: there is none that counts, a file is damaged or of a newer version, or two
            results of one protocol and judge go by one name.
    """
    results = workspace / "results"
    paths = sorted(p for p in results.glob("*/*.json") if p.parent.name != BRIDGES)
    if not paths and not required:
        return MeasuredRows(())
    if not paths:
        raise StoreError(f"no results in {results}: run `harness demo` or `harness eval` first")
    rows = [_load_row(path, results) for path in paths]
    messages = [f"{r.source} holds no verdicts and is left out" for r in rows if not r.estimates]
    messages += [f"{r.source} {OUTDATED_NOTE}" for r in rows if OUTDATED_NOTE in r.notes]
    judged = [row for row in rows if row.estimates]
    if not judged and required:
        raise StoreError(f"no result in {results} holds a verdict: run `harness eval` again")
    _check_names(judged)
    return MeasuredRows(
        tuple(_join_runs(judged, list(_read_runs(workspace / "train")))), tuple(messages)
    )


def _load_row(path: Path, results: Path) -> Row:
    source = path.relative_to(results).as_posix()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data.get("schema", 1)
        row = _parse_row(data, source) if schema <= SCHEMA else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); remove it and run `harness eval` again"
        ) from error
    if row is None:
        raise StoreError(
            f"{path} was written by a newer version (schema {schema}, this one reads up to "
            f"{SCHEMA}): use that version, or remove it and run `harness eval` again"
        )
    items = path.with_suffix("") / "items.json"
    return replace(row, items=items if items.is_file() else None)


def _parse_row(data: Mapping[str, Any], source: str) -> Row:
    score, answered = data["score"], data.get("answered", {})
    scoring = score.get("details", {}).get("compat") or ""
    outdated = (
        {n for n in score["estimates"] if n.endswith(STYLE_SUFFIX)}
        if _is_outdated(data, scoring)
        else set()
    )
    tokens = score["counts"].get("avg_tokens")
    if tokens is None and answered.get("tokens") and data.get("answers"):
        tokens = answered["tokens"] / data["answers"]
    judges = [ANNOTATORS.get(j, j) for j in data["judges_served"] or [data["judge"]]]
    return Row(
        label=_text(data["label"]),
        benchmark=_text(data["benchmark"]),
        judge=", ".join(judges),
        estimates={n: _estimate(e) for n, e in score["estimates"].items() if n not in outdated},
        prompt_count=score["counts"].get("asked", 0) + data["missing"],
        judged_count=score["counts"].get("judged", score["counts"].get("scored", 0)),
        mean_length=data["mean_length"],
        source=source,
        baseline=_text(data.get("baseline", "")),
        protocol=digest(data["sources"]) if data.get("sources") else "",
        scoring=scoring,
        tokens=tokens,
        truncated=data.get("truncated"),
        dollars=(data.get("bill") or {}).get("dollars"),
        hours=_total_hours(data.get("hours")),
        **_run_fields(data.get("run") or {}),
        judged_with=_settings(data.get("judged_with") or {}),
        versions=data.get("versions", {}),
        notes=(*score.get("notes", ()), *((OUTDATED_NOTE,) if outdated else ())),
    )


def _is_outdated(data: Mapping[str, Any], scoring: str) -> bool:
    """Say whether a result's style-controlled figures are not what they would be now."""
    return data.get("schema", 1) < SCHEMA and scoring != "upstream"


def _total_hours(parts: Mapping[str, Mapping[str, float]] | None) -> dict[str, float] | None:
    """Return the hours of training and answering together, by what was computed on."""
    if parts is None:
        return None
    totals: Counter[str] = Counter()
    for part in parts.values():
        totals.update({_text(kind): float(hours) for kind, hours in part.items()})
    if not all(0 <= hours < math.inf for hours in totals.values()):
        raise ValueError(f"{parts} are no hours")
    return dict(totals)


def _run_fields(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result tells of the run that made its policy."""
    if not run:
        return {}
    names = {"run": "name", "method": "method", "base": "base"}
    fields = {key: _text(run[name]) for key, name in names.items()}
    seed, setting = run.get("seed"), _text(run.get("setting", ""))
    seed_fields = {"seed": None if seed is None else int(seed), "setting": setting}
    return {**fields, "iteration": int(run["iteration"]), **seed_fields}


def _settings(settings: Any) -> dict[str, Any]:
    canonical_json(settings)  # raises where it is no plain data
    return dict(settings)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a name")
    return value


def _estimate(data: Mapping[str, Any]) -> Estimate:
    estimate = Estimate(**data)
    parts = (estimate.value, estimate.low, estimate.high, estimate.standard_error)
    if not all(math.isfinite(part) for part in parts if part is not None):
        raise ValueError(f"{data} is not a figure")
    return estimate


def _check_names(rows: Sequence[Row]) -> None:
    sources: dict[tuple[str, ...], str] = {}
    for row in rows:
        key = (*group_key(row)[:SETTINGS_INDEX], row.label)
        if key in sources:
            raise StoreError(
                f"two results are called {row.label!r} on {row.benchmark}: {sources[key]} and "
                f"{row.source}; remove one, or name it anew with `harness eval --label`"
            )
        sources[key] = row.source


def _read_runs(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the runs of a workspace by name; one whose record cannot be read says nothing."""
    for path in sorted(folder.rglob("run.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, Mapping) and isinstance(data.get("policies", []), list):
            yield path.parent.relative_to(folder).as_posix(), data


def _join_runs(rows: Sequence[Row], runs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Row]:
    return [_with_run(row, runs) for row in rows]


def _with_run(row: Row, runs: Sequence[tuple[str, Mapping[str, Any]]]) -> Row:
    """Add base, method and iteration where the result does not; the run where just one fits."""
    if row.run:
        return row
    match = ITERATION.fullmatch(row.label)
    method = match[1] if match else row.label
    matches = [(name, run) for name, run in runs if run.get("method") == method]
    bases = {_base(run) for _, run in matches}
    if not matches:
        starts = {_base(run) for _, run in runs}
        return replace(row, base=row.label, iteration=0) if row.label in starts else row
    name, run = matches[0]
    last = max(0, len(run.get("policies", ())) - 1)
    return replace(
        row,
        method=method,
        iteration=int(match[2]) if match else last if len(matches) == 1 else None,
        run=name if len(matches) == 1 else "",
        base=bases.pop() if len(bases) == 1 else "",
    )


def _base(run: Mapping[str, Any]) -> str:
    config = run.get("config")
    policy = config.get("policy") if isinstance(config, Mapping) else None
    return str(policy.get("name", "")) if isinstance(policy, Mapping) else ""
