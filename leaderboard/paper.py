"""A paper's own tables, each figure beside what has been measured here; empty where nothing has.

A measured row stands beside a published one where the benchmark is the same and the label is the
published one, or the one that the method has here (`ours` in the CSV). What another judge measured
has columns of its own, which say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from leaderboard import columns
from leaderboard.published import published
from leaderboard.rows import Row
from leaderboard.table import Cell, Column, Line, Section, Table, figure

NOTE = (
    "published figures are as printed in the paper; measured ones are made here, an empty cell has "
    "not been measured"
)
Place = tuple[str, str, str]
"""Benchmark, metric, and the judge."""


def tables(name: str, measured: Sequence[Row]) -> list[Table]:
    """Return the tables of a document.

    Raises:
        ConfigError: there is no document of that name.
    """
    rows = sorted(published([name]), key=lambda row: row.source)
    return [_table(source, list(own), measured) for source, own in groupby(rows, _source)]


def _source(row: Row) -> str:
    return row.source


def _table(title: str, rows: Sequence[Row], measured: Sequence[Row]) -> Table:
    places = list(dict.fromkeys((r.benchmark, m, r.judge) for r in rows for m in r.estimates))
    fitting = [row for row in measured if any(_same(row, theirs) for theirs in rows)]
    judges = {place: _judges(place, fitting) for place in places}
    heads = [column for place in places for column in _heads(place, judges[place])]
    lines = []
    for _, own in groupby(rows, lambda row: (row.label, row.base)):
        theirs = list(own)
        beside = [row for row in fitting if any(_same(row, their) for their in theirs)]
        lines.append(Line(_cells(theirs, places, judges, beside), (*theirs, *beside)))
    head = Column("method")
    return Table(title, (head, *heads), (Section("", tuple(lines)),), (NOTE,))


def _same(ours: Row, theirs: Row) -> bool:
    named = ours.label in (theirs.label, theirs.ours)
    based = not (ours.base and theirs.base) or ours.base == theirs.base
    return named and based and ours.benchmark == theirs.benchmark


def _judges(place: Place, measured: Sequence[Row]) -> list[str]:
    """Return who judged what was measured: the paper's judge first, and always."""
    benchmark, metric, judge = place
    there = {r.judge for r in measured if r.benchmark == benchmark and metric in r.estimates}
    return [judge, *sorted(there - {judge})]


def _heads(place: Place, judges: Sequence[str]) -> list[Column]:
    benchmark, metric, judge = place
    group = f"{benchmark} {columns.heading(metric)}"
    names = ["measured" if j == judge else f"measured, judged by {j}" for j in judges]
    return [Column(name, group, number=True, figure=True) for name in ("published", *names)]


def _cells(
    theirs: Sequence[Row],
    places: Sequence[Place],
    judges: dict[Place, list[str]],
    measured: Sequence[Row],
) -> tuple[Cell, ...]:
    found = [Cell(theirs[0].label)]
    for place in places:
        benchmark, metric, _ = place
        row = next((r for r in theirs if r.benchmark == benchmark and metric in r.estimates), None)
        found.append(Cell("") if row is None else _figure(row, metric))
        for judge in judges[place]:
            own = [r for r in measured if row and _same(r, row) and r.judge == judge]
            found.append(next((_figure(r, metric) for r in own if metric in r.estimates), Cell("")))
    return tuple(found)


def _figure(row: Row, metric: str) -> Cell:
    estimate = row.estimates[metric]
    return figure(estimate, columns.digits(metric, row), top=False, differs=False)
