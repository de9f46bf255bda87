"""What may share a column: one benchmark, one judge, one baseline, one version of the protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from leaderboard.rows import Row

Key = tuple[str, str, str, str, str]
"""Benchmark, judge, baseline, digest of the protocol's texts, whose way of scoring."""
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
    for row in rows:
        if row.document is None:
            found.setdefault(key_of(row), []).append(row)
    measured = list(found)
    for row in rows:
        if row.document is not None:
            found.setdefault(_joined(row, measured), []).append(row)
    titles = _titles(list(found))
    return [Group(titles[key], key[0], key[1], tuple(own)) for key, own in found.items()]


def key_of(row: Row) -> Key:
    """Return what rows must have in common to share a column."""
    return (row.benchmark, row.judge, row.baseline, row.protocol, row.scoring)


def _joined(row: Row, measured: Sequence[Key]) -> Key:
    fitting = [key for key in measured if key[:2] == (row.benchmark, row.judge)]
    if len(fitting) == 1 and (
        fitting[0][2] == row.baseline or not (fitting[0][2] and row.baseline)
    ):
        return fitting[0]
    return (row.benchmark, row.judge, row.baseline, PUBLISHED, "")


def _titles(keys: Sequence[Key]) -> dict[Key, str]:
    """Return what each group is called: no more than tells it from the others."""
    plain = Counter(key[:2] for key in keys)
    against = Counter((*key[:3], key[4]) for key in keys)
    found = {}
    for key in keys:
        benchmark, judge, baseline, protocol, scoring = key
        title = f"{benchmark}, judged by {judge}" if judge else benchmark
        if plain[key[:2]] > 1 and baseline:
            title += f", against {baseline}"
        if against[(*key[:3], scoring)] > 1:
            told = f"protocol data {protocol[:SHOWN]}" if protocol else "protocol data not told"
            title += f", {PUBLISHED if protocol == PUBLISHED else told}"
        found[key] = f"{title}, scored as {scoring}" if scoring else title
    return found
