"""Labels that tell every two results of a table apart, by what differs between them.

Two runs under one label differ in their configuration: `INPO (eta=0.1)`, `INPO (seed 1)`, or else
in their names. What else may differ are the answers, the judge as it was requested, the way in
which a policy generated its answers, and in the end the file of the result. Results whose
benchmark, judge or baseline differ are in separate groups already, and may keep one label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from harness.core.seeds import canonical_json
from leaderboard.groups import DIGEST_DIGITS, flatten, group_rows
from leaderboard.rows import Row

MAX_PARTS, MAX_LENGTH = 3, 40
"""The most parts of a configuration that a label shows, and the longest value in characters."""
ROUNDS = 3
"""How often labels are compared again: one that was told apart may equal another's."""
ABSENT = "–"
PHRASES = {
    "contestant.answers_sha256": "answers",
    "contestant.verdicts_sha256": "verdicts",
    "contestant.run.name": "run",
    "contestant.run.iteration": "iteration",
    "contestant.run.seed": "seed",
    "judge.model": "judge",
}
"""By key of a result's identity: the word before its value."""
HIDDEN = ("contestant.run.setting", "benchmark.sources", "baseline")
"""Beginnings of keys of an identity whose values say nothing to a reader."""

Values = Mapping[str, Any]


def distinguish(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, with a label of its own for every contestant and in every group.

    Published rows are left as they are: their document stands beside them.
    """
    distinct = list(rows)
    for _ in range(ROUNDS):
        distinct = _with_parts(distinct, _run_parts(distinct))
        parts = _group_parts(distinct)
        if not parts:
            break
        distinct = _with_parts(distinct, parts)
    return distinct


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return each dotted key's shortest end that is no other key's end."""
    shortened = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[i:]) for i in range(len(parts) - 1, -1, -1)]
        others = [other for other in keys if other != key]
        shortened[key] = next(
            (e for e in ends if not any(f".{o}".endswith(f".{e}") for o in others)), key
        )
    return shortened


def _with_parts(rows: Sequence[Row], parts: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return rows with the parts that distinguish them in their labels, by their sources."""
    return [
        replace(
            row,
            label=_extend(row.label, parts[row.source]),
            shared_label=row.shared_label or row.label,
        )
        if row.document is None and parts.get(row.source)
        else row
        for row in rows
    ]


def _extend(label: str, parts: Sequence[str]) -> str:
    """Return `INPO (iteration 2, eta=0.1)` for `INPO (iteration 2)` and `eta=0.1`."""
    if label.endswith(")") and " (" in label:
        return f"{label[:-1]}, {', '.join(parts)})"
    return f"{label} ({', '.join(parts)})"


def _run_parts(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what tells runs of one label apart, by source, over all groups."""
    rows_by_label: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.document is None and row.run:
            rows_by_label[row.label].append(row)
    parts: dict[str, list[str]] = {}
    for members in rows_by_label.values():
        by_run: dict[Hashable, Row] = {}
        for row in members:
            by_run.setdefault(_run_key(row), row)
        if len(by_run) > 1:
            differing = dict(zip(by_run, _run_differences(list(by_run.values())), strict=True))
            parts |= {row.source: differing[_run_key(row)] for row in members}
    return parts


def _run_key(row: Row) -> Hashable:
    return (row.run, row.iteration, row.seed, row.setting)


def _run_differences(rows: Sequence[Row]) -> list[list[str]]:
    """Return what distinguishes rows of several runs: settings, seed, iteration, or their names."""
    parts = [
        [*own, *seed, *iteration]
        for own, seed, iteration in zip(
            _setting_parts(rows),
            _number_parts(rows, "seed", [row.seed for row in rows]),
            _number_parts(rows, "iteration", [row.iteration for row in rows]),
            strict=True,
        )
    ]
    if len(set(map(tuple, parts))) == len(rows) and all(parts):
        return parts
    names = [row.run for row in rows]
    if len(set(names)) == len(names):
        return [[f"run {name}"] for name in names]
    return [[f"run {name}", *own] for name, own in zip(names, parts, strict=True)]


def _setting_parts(rows: Sequence[Row]) -> list[list[str]]:
    """Return the settings that differ between runs; nothing where they are too many or unknown."""
    if not all(row.configuration for row in rows):
        return [[] for _ in rows]
    configurations = [{k: v for k, v in row.configuration.items() if k != "seed"} for row in rows]
    varying = _varying_keys(configurations)
    texts = [[_value(c.get(key, ABSENT)) for key in varying] for c in configurations]
    if len(varying) > MAX_PARTS or any(len(t) > MAX_LENGTH for own in texts for t in own):
        return [[] for _ in rows]
    names = short_keys(["seed", *varying])
    return [
        [f"{names[key]}={text}" for key, text in zip(varying, own, strict=True)] for own in texts
    ]


def _number_parts(rows: Sequence[Row], word: str, values: Sequence[int | None]) -> list[list[str]]:
    if len(set(values)) < 2:
        return [[] for _ in rows]
    return [
        [] if value is None or f"{word} {value}" in row.label else [f"{word} {value}"]
        for row, value in zip(rows, values, strict=True)
    ]


def _group_parts(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what tells results of one label in one group apart, by source."""
    parts: dict[str, list[str]] = {}
    for group in group_rows(rows):
        rows_by_label: dict[str, list[Row]] = defaultdict(list)
        for row in group.rows:
            if row.document is None:
                rows_by_label[row.label].append(row)
        for members in rows_by_label.values():
            if len(members) > 1:
                differences = _identity_differences(members)
                parts |= {r.source: own for r, own in zip(members, differences, strict=True)}
    return parts


def _identity_differences(rows: Sequence[Row]) -> list[list[str]]:
    """Return what distinguishes results: contestant, judge, other settings, or else their files."""
    identities = [flatten(row.identity) for row in rows]
    varying = [key for key in _varying_keys(identities) if not key.startswith(HIDDEN)]
    stages = (
        [key for key in varying if key.startswith("contestant.")],
        [key for key in varying if key.startswith(("contestant.", "judge."))],
        varying,
    )
    for keys in stages:
        names = short_keys(keys)
        parts = [[_phrase(k, names[k], own[k]) for k in keys if k in own] for own in identities]
        is_short = all(
            len(own) <= MAX_PARTS and all(len(part) <= MAX_LENGTH for part in own) for own in parts
        )
        if is_short and len(set(map(tuple, parts))) == len(rows) and all(parts):
            return parts
    return [[f"file {PurePosixPath(row.source).stem}"] for row in rows]


def _varying_keys(data: Sequence[Values]) -> list[str]:
    keys = dict.fromkeys(key for values in data for key in values)
    return [key for key in keys if len({_value(values.get(key, ABSENT)) for values in data}) > 1]


def _phrase(key: str, name: str, value: Any) -> str:
    if key not in PHRASES:
        return f"{name}={_value(value)}"
    text = str(value)[:DIGEST_DIGITS] if key.endswith("_sha256") else _value(value)
    return f"{PHRASES[key]} {text}"


def _value(value: Any) -> str:
    """Return a value as a user would write it."""
    match value:
        case bool() | None:
            return canonical_json(value)
        case float():
            return f"{value:.12g}"
        case str():
            return value
    return canonical_json(value)
