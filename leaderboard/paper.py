"""A paper's own tables, each figure beside what has been measured here; empty where nothing has.

A measured row stands beside a published one where the benchmark is the same and the label is the
published one, or the one that the method has here (`ours` in the CSV). What another judge measured,
or the same one asked otherwise, has columns of its own, which say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from leaderboard import columns
from leaderboard.groups import Group, grouped
from leaderboard.published import published
from leaderboard.rows import Row
from leaderboard.table import Cell, Column, Line, Section, Table, figure

NOTE = (
    "published figures are as printed in the paper; measured ones are made here, an empty cell has "
    "not been measured"
)
Place = tuple[str, str, str]
"""Benchmark, metric, and the judge."""
Beside = Mapping[str, Sequence[Row]]
"""By the head of a column: the measured rows that may stand in it."""


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
    beside = {place: _beside(place, grouped(fitting)) for place in places}
    heads = [column for place in places for column in _heads(place, list(beside[place]))]
    lines = []
    for _, own in groupby(rows, lambda row: (row.label, row.base)):
        theirs = list(own)
        ours = [row for row in fitting if any(_same(row, their) for their in theirs)]
        lines.append(Line(_cells(theirs, beside), (*theirs, *ours)))
    head = Column("method")
    return Table(title, (head, *heads), (Section("", tuple(lines)),), (NOTE,))


def _same(ours: Row, theirs: Row) -> bool:
    named = ours.label in (theirs.label, theirs.ours)
    based = not (ours.base and theirs.base) or ours.base == theirs.base
    return named and based and ours.benchmark == theirs.benchmark


def _beside(place: Place, groups: Sequence[Group]) -> Beside:
    """Return who measured the same, by the head of their column: as in the paper first, always."""
    benchmark, metric, judge = place
    there = [g for g in groups if g.benchmark == benchmark]
    own = [g for g in there if any(metric in row.estimates for row in g.rows)]
    alike = [group for group in own if group.judge == judge]
    found: dict[str, Sequence[Row]] = {"measured": alike[0].rows if len(alike) == 1 else ()}
    for group in sorted(own, key=lambda group: group.title):
        if alike != [group]:
            found[group.title.replace(benchmark, "measured", 1)] = group.rows
    return found


def _heads(place: Place, names: Sequence[str]) -> list[Column]:
    benchmark, metric, _ = place
    group = f"{benchmark} {columns.heading(metric)}"
    return [Column(name, group, number=True, figure=True) for name in ("published", *names)]


def _cells(theirs: Sequence[Row], beside: Mapping[Place, Beside]) -> tuple[Cell, ...]:
    found = [Cell(theirs[0].label)]
    for (benchmark, metric, _), measured in beside.items():
        row = next((r for r in theirs if r.benchmark == benchmark and metric in r.estimates), None)
        found.append(Cell("") if row is None else _figure(row, metric))
        for rows in measured.values():
            own = [r for r in rows if row and _same(r, row) and metric in r.estimates]
            found.append(_figure(own[0], metric) if own else Cell(""))
    return tuple(found)


def _figure(row: Row, metric: str) -> Cell:
    estimate = row.estimates[metric]
    return figure(estimate, columns.digits(metric, row), top=False, differs=False)
