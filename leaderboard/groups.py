"""Groups of rows that may share a column: one benchmark, judge with its settings, and protocol.

A result whose judge settings are not known (verdicts from a file) joins the others if those all
have the same settings; a note under the table names it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.seeds import canonical_json
from leaderboard.rows import Row

GroupKey = tuple[str, str, str, str, str, str]
"""Benchmark, judge, baseline, digest of the protocol's texts, scoring, and the judge's settings as
canonical JSON; empty where they are not known."""
SETTINGS_INDEX = 5
"""The index of the last of them."""
PUBLISHED = "as published"
"""Instead of the digest, for published rows."""
DIGEST_DIGITS = 8
"""Shown digits of a digest."""


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
            rows_by_key.setdefault(_resolve_key(group_key(row), list(measured_keys)), []).append(
                row
            )
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
    settings = canonical_json(_normalize_numbers(row.judge_settings)) if row.judge_settings else ""
    return (row.benchmark, row.judge, row.baseline, row.protocol, row.scoring, settings)


def _normalize_numbers(data: Any) -> Any:
    """Return plain data with 1 instead of 1.0."""
    if isinstance(data, Mapping):
        return {name: _normalize_numbers(value) for name, value in data.items()}
    return int(data) if isinstance(data, float) and data.is_integer() else data


def _resolve_key(key: GroupKey, keys: Sequence[GroupKey]) -> GroupKey:
    """Return the key of the group that a row joins if its judge's settings are not known."""
    matches = [
        other
        for other in keys
        if other[:SETTINGS_INDEX] == key[:SETTINGS_INDEX] and other[SETTINGS_INDEX]
    ]
    return matches[0] if not key[SETTINGS_INDEX] and len(matches) == 1 else key


def _published_key(row: Row, keys: Sequence[GroupKey]) -> GroupKey:
    matches = [key for key in keys if key[:2] == (row.benchmark, row.judge)]
    if len(matches) == 1 and (
        matches[0][2] == row.baseline or not (matches[0][2] and row.baseline)
    ):
        return matches[0]
    return (row.benchmark, row.judge, row.baseline, PUBLISHED, "", "")


def _titles(keys: Sequence[GroupKey]) -> dict[GroupKey, str]:
    """Return each group's title, with no more than distinguishes it from the others."""
    judge_counts = Counter(key[:2] for key in {key[:SETTINGS_INDEX] for key in keys})
    baseline_counts = Counter((*key[:3], key[4]) for key in {key[:SETTINGS_INDEX] for key in keys})
    titles = {}
    for key in keys:
        benchmark, judge, baseline, protocol, scoring, settings = key
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
        others = [
            k[SETTINGS_INDEX]
            for k in keys
            if k[:SETTINGS_INDEX] == key[:SETTINGS_INDEX] and k is not key
        ]
        titles[key] = f"{title}, {_differing_settings(settings, others)}" if others else title
    return titles


def _differing_settings(settings: str, others: Sequence[str]) -> str:
    """Return those of a judge's settings that differ from the others'."""
    if not settings:
        return "with unknown judge settings"
    own, rest = json.loads(settings), [json.loads(other) for other in others if other]
    names = sorted({name for candidate in (own, *rest) for name in candidate})
    differing = [n for n in names if any(candidate.get(n) != own.get(n) for candidate in rest)]
    parts = [f"{n} {canonical_json(own[n])}" if n in own else f"no {n}" for n in differing]
    return f"judge settings: {', '.join(parts)}" if parts else "with known judge settings"
