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

from harness.errors import StoreError
from harness.seeds import canonical, digest
from harness.types import Estimate
from leaderboard.groups import SETTING, key_of
from leaderboard.rows import Row

SCHEMA = 3
"""The newest layout of a result that is read; older ones tell less, and the first has no schema."""
ANNOTATORS = {"weighted_alpaca_eval_gpt4_turbo": "gpt-4-1106-preview"}
"""By the name that alpaca_eval's files give to a judge: the model that its configuration asks."""
BRIDGES = "bridge"
"""The folder beside the benchmarks' in which judges are set side by side."""
STYLED = "style_controlled_win_rate"
"""How the figures end that the second layout has at a model's own style, the third at the
baseline's: they are of two kinds."""
OUTDATED = "has style-controlled figures of an older version; they are left out: run `harness eval`"
ITERATION = re.compile(r"(.+) \(iteration (\d+)\)")


@dataclass(frozen=True, slots=True)
class Found:
    """The rows, and what a user must know of files that made none."""

    rows: tuple[Row, ...]
    told: tuple[str, ...] = ()


def measured(workspace: Path, *, needed: bool = True) -> Found:
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
    if not paths and not needed:
        return Found(())
    if not paths:
        raise StoreError(f"no results in {results}: run `harness demo` or `harness eval` first")
    rows = [_row(path, results) for path in paths]
    empty = [f"{r.source} holds no verdicts and is left out" for r in rows if not r.estimates]
    empty += [f"{r.source} {OUTDATED}" for r in rows if OUTDATED in r.notes]
    kept = [row for row in rows if row.estimates]
    if not kept and needed:
        raise StoreError(f"no result in {results} holds a verdict: run `harness eval` again")
    _check_names(kept)
    return Found(tuple(_joined(kept, list(_runs(workspace / "train")))), tuple(empty))


def _row(path: Path, results: Path) -> Row:
    source = path.relative_to(results).as_posix()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data.get("schema", 1)
        row = _read(data, source) if schema <= SCHEMA else None
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


def _read(data: Mapping[str, Any], source: str) -> Row:
    score, answered = data["score"], data.get("answered", {})
    scoring = score.get("details", {}).get("compat") or ""
    old = {n for n in score["estimates"] if n.endswith(STYLED)} if _older(data, scoring) else set()
    tokens = score["counts"].get("avg_tokens")
    if tokens is None and answered.get("tokens") and data.get("answers"):
        tokens = answered["tokens"] / data["answers"]
    judges = [ANNOTATORS.get(j, j) for j in data["judges_served"] or [data["judge"]]]
    return Row(
        label=_text(data["label"]),
        benchmark=_text(data["benchmark"]),
        judge=", ".join(judges),
        estimates={n: _estimate(e) for n, e in score["estimates"].items() if n not in old},
        asked=score["counts"].get("asked", 0) + data["missing"],
        judged=score["counts"].get("judged", score["counts"].get("scored", 0)),
        mean_length=data["mean_length"],
        source=source,
        baseline=_text(data.get("baseline", "")),
        protocol=digest(data["sources"]) if data.get("sources") else "",
        scoring=scoring,
        tokens=tokens,
        truncated=data.get("truncated"),
        dollars=(data.get("bill") or {}).get("dollars"),
        hours=_hours(data.get("hours")),
        **_run(data.get("run") or {}),
        judged_with=_settings(data.get("judged_with") or {}),
        versions=data.get("versions", {}),
        notes=(*score.get("notes", ()), *((OUTDATED,) if old else ())),
    )


def _older(data: Mapping[str, Any], scoring: str) -> bool:
    """Say whether a result's style-controlled figures are not what they would be now."""
    return data.get("schema", 1) < SCHEMA and scoring != "upstream"


def _hours(told: Mapping[str, Mapping[str, float]] | None) -> dict[str, float] | None:
    """Return the hours of training and answering together, by what was computed on."""
    if told is None:
        return None
    found: Counter[str] = Counter()
    for part in told.values():
        found.update({_text(kind): float(hours) for kind, hours in part.items()})
    if not all(0 <= hours < math.inf for hours in found.values()):
        raise ValueError(f"{told} are no hours")
    return dict(found)


def _run(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result tells of the run that made its policy."""
    if not told:
        return {}
    names = {"run": "name", "method": "method", "base": "base"}
    found = {key: _text(told[name]) for key, name in names.items()}
    seed, setting = told.get("seed"), _text(told.get("setting", ""))
    repeated = {"seed": None if seed is None else int(seed), "setting": setting}
    return {**found, "iteration": int(told["iteration"]), **repeated}


def _settings(told: Any) -> dict[str, Any]:
    canonical(told)  # raises where it is no plain data
    return dict(told)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a name")
    return value


def _estimate(told: Mapping[str, Any]) -> Estimate:
    found = Estimate(**told)
    parts = (found.value, found.low, found.high, found.standard_error)
    if not all(math.isfinite(part) for part in parts if part is not None):
        raise ValueError(f"{told} is not a figure")
    return found


def _check_names(rows: Sequence[Row]) -> None:
    seen: dict[tuple[str, ...], str] = {}
    for row in rows:
        key = (*key_of(row)[:SETTING], row.label)
        if key in seen:
            raise StoreError(
                f"two results are called {row.label!r} on {row.benchmark}: {seen[key]} and "
                f"{row.source}; remove one, or name it anew with `harness eval --label`"
            )
        seen[key] = row.source


def _runs(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the runs of a workspace by name; one whose record cannot be read says nothing."""
    for path in sorted(folder.rglob("run.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(data, Mapping) and isinstance(data.get("policies", []), list):
            yield path.parent.relative_to(folder).as_posix(), data


def _joined(rows: Sequence[Row], runs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Row]:
    return [_of_run(row, runs) for row in rows]


def _of_run(row: Row, runs: Sequence[tuple[str, Mapping[str, Any]]]) -> Row:
    """Add base, method and iteration where the result does not; the run where just one fits."""
    if row.run:
        return row
    named = ITERATION.fullmatch(row.label)
    method = named[1] if named else row.label
    fitting = [(name, run) for name, run in runs if run.get("method") == method]
    bases = {_base(run) for _, run in fitting}
    if not fitting:
        starts = {_base(run) for _, run in runs}
        return replace(row, base=row.label, iteration=0) if row.label in starts else row
    name, run = fitting[0]
    last = max(0, len(run.get("policies", ())) - 1)
    return replace(
        row,
        method=method,
        iteration=int(named[2]) if named else last if len(fitting) == 1 else None,
        run=name if len(fitting) == 1 else "",
        base=bases.pop() if len(bases) == 1 else "",
    )


def _base(run: Mapping[str, Any]) -> str:
    config = run.get("config")
    policy = config.get("policy") if isinstance(config, Mapping) else None
    return str(policy.get("name", "")) if isinstance(policy, Mapping) else ""
