"""What may share a column: one benchmark, judge, way of asking it, baseline, and protocol version.

A result that does not tell what its judge was asked with (verdicts from a file) joins the others
where those were all asked alike; a note under the table names it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.seeds import canonical
from leaderboard.rows import Row

Key = tuple[str, str, str, str, str, str]
"""Benchmark, judge, baseline, digest of the protocol's texts, whose way of scoring, and what the
judge was asked with as canonical JSON; empty where that is not told."""
SETTING = 5
"""The place of the last of them."""
PUBLISHED = "as published"
"""Stands for the digest where others asked."""
SHOWN = 8
"""Digits of a digest that are shown."""


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """Rows that may share a column, and what they have in common."""

    title: str
    benchmark: str
    judge: str
    rows: tuple[Row, ...]


def grouped(rows: Sequence[Row]) -> list[Group]:
    """Return the rows in groups, measured ones first.

    A published row joins the measured ones only where it is plain which: there is just one group
    of its benchmark and judge, and its baseline is the same as far as both are told.
    """
    found: dict[Key, list[Row]] = {}
    told = {key_of(row): None for row in rows if row.document is None}
    for row in rows:
        if row.document is None:
            found.setdefault(_settled(key_of(row), list(told)), []).append(row)
    measured = list(found)
    for row in rows:
        if row.document is not None:
            found.setdefault(_joined(row, measured), []).append(row)
    titles = _titles(list(found))
    return [Group(titles[key], key[0], key[1], tuple(own)) for key, own in found.items()]


def key_of(row: Row) -> Key:
    """Return what rows must have in common to share a column."""
    asked = canonical(_whole(row.judged_with)) if row.judged_with else ""
    return (row.benchmark, row.judge, row.baseline, row.protocol, row.scoring, asked)


def _whole(told: Any) -> Any:
    """Return plain data in which 1.0 is 1."""
    if isinstance(told, Mapping):
        return {name: _whole(value) for name, value in told.items()}
    return int(told) if isinstance(told, float) and told.is_integer() else told


def _settled(key: Key, keys: Sequence[Key]) -> Key:
    """Return the key that one joins which does not tell what the judge was asked with."""
    alike = [other for other in keys if other[:SETTING] == key[:SETTING] and other[SETTING]]
    return alike[0] if not key[SETTING] and len(alike) == 1 else key


def _joined(row: Row, measured: Sequence[Key]) -> Key:
    fitting = [key for key in measured if key[:2] == (row.benchmark, row.judge)]
    if len(fitting) == 1 and (
        fitting[0][2] == row.baseline or not (fitting[0][2] and row.baseline)
    ):
        return fitting[0]
    return (row.benchmark, row.judge, row.baseline, PUBLISHED, "", "")


def _titles(keys: Sequence[Key]) -> dict[Key, str]:
    """Return what each group is called: no more than tells it from the others."""
    plain = Counter(key[:2] for key in {key[:SETTING] for key in keys})
    against = Counter((*key[:3], key[4]) for key in {key[:SETTING] for key in keys})
    found = {}
    for key in keys:
        benchmark, judge, baseline, protocol, scoring, asked = key
        title = f"{benchmark}, judged by {judge}" if judge else benchmark
        if plain[key[:2]] > 1 and baseline:
            title += f", against {baseline}"
        if against[(*key[:3], scoring)] > 1:
            told = f"protocol data {protocol[:SHOWN]}" if protocol else "protocol data not told"
            title += f", {PUBLISHED if protocol == PUBLISHED else told}"
        title += f", scored as {scoring}" if scoring else ""
        others = [k[SETTING] for k in keys if k[:SETTING] == key[:SETTING] and k is not key]
        found[key] = f"{title}, asked with {_apart(asked, others)}" if others else title
    return found


def _apart(asked: str, others: Sequence[str]) -> str:
    """Return which of a judge's settings are not those of the others."""
    if not asked:
        return "what is not told"
    own, rest = json.loads(asked), [json.loads(other) for other in others if other]
    names = sorted({name for told in (own, *rest) for name in told})
    differing = [n for n in names if any(told.get(n) != own.get(n) for told in rest)]
    told = [f"{n} {canonical(own[n])}" if n in own else f"no {n}" for n in differing]
    return ", ".join(told) or "what is told"
