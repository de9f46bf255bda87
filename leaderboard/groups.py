"""Groups of rows that may share a column: one benchmark, judge and baseline with their settings.

What a result does not tell (the judge's settings of verdicts from a file, the benchmark's settings
of an older result) may be anything: it joins the others if those that agree in all it tells are one
group. A note under the table names it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.seeds import canonical_json, digest
from leaderboard.rows import Row

GroupKey = tuple[str, str, str, str, str, str, str, str]
"""Benchmark, judge, baseline, digest of the protocol's texts, scoring; then, empty where they are
not known: the judge's settings and the benchmark's as canonical JSON, and the hash of the answers
of the baseline."""
SETTINGS_INDEX, BENCHMARK_INDEX, BASELINE_INDEX = 5, 6, 7
"""The indices of these three."""
PUBLISHED = "as published"
"""Instead of the digest, for published rows."""
DIGEST_DIGITS = 8
"""Shown digits of a digest."""
OF_CONTESTANT = ("sampling",)
"""Settings of a benchmark that say how a policy answers: rows that differ in them share columns."""
SCORING = "scoring"
"""The key of a benchmark's scoring, whose `compat` is a part of the key by itself."""


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Rows that may share a column, with their title, benchmark and judge."""

    title: str
    benchmark: str
    judge: str
    rows: tuple[Row, ...]


def group_rows(rows: Sequence[Row]) -> list[Group]:
    """Return the rows in groups, measured ones first.

    A published row joins measured ones only if there is exactly one group of its benchmark and
    judge, and the baselines are the same as far as both are known.
    """
    rows_by_key: dict[GroupKey, list[Row]] = {}
    measured_keys = {group_key(row): None for row in rows if row.document is None}
    for row in rows:
        if row.document is None:
            key = _resolve_key(group_key(row), list(measured_keys))
            rows_by_key.setdefault(key, []).append(row)
    shared_keys = list(rows_by_key)
    for row in rows:
        if row.document is not None:
            rows_by_key.setdefault(_published_key(row, shared_keys), []).append(row)
    titles = _titles(list(rows_by_key))
    return [
        Group(titles[key], key[0], key[1], tuple(members)) for key, members in rows_by_key.items()
    ]


def group_key(row: Row) -> GroupKey:
    """Return the key that rows of a group share."""
    benchmark, baseline = (row.identity.get(name, {}) for name in ("benchmark", "baseline"))
    return (
        row.benchmark,
        row.judge,
        row.baseline,
        row.protocol,
        row.scoring,
        _settings_text(row.judge_settings),
        _settings_text(_benchmark_settings(benchmark.get("settings", {}))),
        baseline.get("answers_sha256", ""),
    )


def flatten(data: Any, prefix: str = "") -> dict[str, Any]:
    """Return plain data by dotted key."""
    if not isinstance(data, Mapping) or (prefix and not data):
        return {prefix: data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _benchmark_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: value for name, value in settings.items() if name not in OF_CONTESTANT}
    if isinstance(scoring := shared.get(SCORING), Mapping):
        shared[SCORING] = {name: value for name, value in scoring.items() if name != "compat"}
    return shared


def _settings_text(settings: Mapping[str, Any]) -> str:
    return canonical_json(_normalize_numbers(settings)) if settings else ""


def _normalize_numbers(data: Any) -> Any:
    """Return plain data with 1 instead of 1.0."""
    if isinstance(data, Mapping):
        return {name: _normalize_numbers(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_normalize_numbers(value) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def _resolve_key(key: GroupKey, keys: Sequence[GroupKey]) -> GroupKey:
    """Return the key of the group that a row joins if some of its settings are not known."""
    if all(key[SETTINGS_INDEX:]):
        return key
    matches = [other for other in keys if other != key and _completes(other, key)]
    most = max((sum(map(bool, other)) for other in matches), default=0)
    fullest = [other for other in matches if sum(map(bool, other)) == most]
    return fullest[0] if len(fullest) == 1 else key


def _completes(other: GroupKey, key: GroupKey) -> bool:
    """Return whether a key agrees with another in all that is known, and tells more."""
    return other[:SETTINGS_INDEX] == key[:SETTINGS_INDEX] and all(
        own in ("", value)
        for own, value in zip(key[SETTINGS_INDEX:], other[SETTINGS_INDEX:], strict=True)
    )


def _published_key(row: Row, keys: Sequence[GroupKey]) -> GroupKey:
    matches = [key for key in keys if key[:2] == (row.benchmark, row.judge)]
    if len(matches) == 1 and (
        matches[0][2] == row.baseline or not (matches[0][2] and row.baseline)
    ):
        return matches[0]
    return (row.benchmark, row.judge, row.baseline, PUBLISHED, "", "", "", "")


def _titles(keys: Sequence[GroupKey]) -> dict[GroupKey, str]:
    """Return each group's title, with no more than distinguishes it from the others."""
    fixed_keys = {key[:SETTINGS_INDEX] for key in keys}
    judge_counts = Counter(key[:2] for key in fixed_keys)
    baseline_counts = Counter((*key[:3], key[4]) for key in fixed_keys)
    titles = {}
    for key in keys:
        benchmark, judge, baseline, protocol, scoring, *_ = key
        title = f"{benchmark}, judged by {judge}" if judge else benchmark
        if judge_counts[key[:2]] > 1 and baseline:
            title += f", against {baseline}"
        if baseline_counts[(*key[:3], scoring)] > 1:
            data_label = (
                f"protocol data {protocol[:DIGEST_DIGITS]}"
                if protocol
                else "protocol data not known"
            )
            title += f", {PUBLISHED if protocol == PUBLISHED else data_label}"
        title += f", scored as {scoring}" if scoring else ""
        others = [k for k in keys if k[:SETTINGS_INDEX] == key[:SETTINGS_INDEX] and k is not key]
        titles[key] = ", ".join([title, *_differing_parts(key, others)])
    counts = Counter(titles.values())
    return {
        key: f"{title}, {digest(key)[:DIGEST_DIGITS]}" if counts[title] > 1 else title
        for key, title in titles.items()
    }


def _differing_parts(key: GroupKey, others: Sequence[GroupKey]) -> list[str]:
    """Return the parts of a title that tell a group from others of its benchmark and judge."""
    parts = []
    if any(other[SETTINGS_INDEX] != key[SETTINGS_INDEX] for other in others):
        settings = [other[SETTINGS_INDEX] for other in others]
        parts.append(_differing_settings("judge", key[SETTINGS_INDEX], settings))
    if any(other[BENCHMARK_INDEX] != key[BENCHMARK_INDEX] for other in others):
        settings = [other[BENCHMARK_INDEX] for other in others]
        parts.append(_differing_settings("benchmark", key[BENCHMARK_INDEX], settings))
    same_settings = [o for o in others if o[:BASELINE_INDEX] == key[:BASELINE_INDEX]]
    if any(other[BASELINE_INDEX] != key[BASELINE_INDEX] for other in same_settings):
        answers = key[BASELINE_INDEX][:DIGEST_DIGITS]
        parts.append(f"the baseline's answers {answers or 'not known'}")
    return parts


def _differing_settings(owner: str, settings: str, others: Sequence[str]) -> str:
    """Return those of a judge's or a benchmark's settings that differ from the others'."""
    if not settings:
        return f"with unknown {owner} settings"
    own, rest = flatten(json.loads(settings)), [flatten(json.loads(o)) for o in others if o]
    names = sorted({name for candidate in (own, *rest) for name in candidate})
    differing = [n for n in names if any(candidate.get(n) != own.get(n) for candidate in rest)]
    parts = [f"{n} {canonical_json(own[n])}" if n in own else f"no {n}" for n in differing]
    return f"{owner} settings: {', '.join(parts)}" if parts else f"with known {owner} settings"
