"""Rows become tables: a column holds one metric of one protocol under one judge, never of two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.config import known
from harness.errors import ConfigError
from leaderboard import columns, differences, marks, notes, seeds
from leaderboard.choice import Choice
from leaderboard.groups import Group, grouped
from leaderboard.marks import Marks, Reader
from leaderboard.rows import Row
from leaderboard.table import Cell, Column, Line, Section, Table, figure

GROUPINGS = ("base", "method", "iteration")


@dataclass(frozen=True, slots=True)
class Place:
    """One column of a table under construction."""

    name: str
    group: Group | None
    """None: what a contestant is on whatever benchmark."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One line of a table under construction: a row in some of the groups."""

    rows: Mapping[Group, Row]

    @property
    def any(self) -> Row:
        """The row that says who it is."""
        return next(iter(self.rows.values()))


@dataclass
class Builder:
    """Makes tables of rows as a user has chosen."""

    choice: Choice
    reader: Reader = field(default_factory=Reader)

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        """Return a table for each benchmark and judge, or a wide one.

        Raises:
            ConfigError: no row fits the choice; it names what there is.
            StoreError: a result's items are damaged.
        """
        rows = seeds.pooled(rows, self.reader) if self.choice.pool else rows
        self._check(rows)
        groups = grouped([r for r in rows if self.choice.bench in ("", r.benchmark)])
        if self.choice.differences:
            groups = [differences.beside(g, self.choice.baseline, self.reader) for g in groups]
        if self.choice.wide:
            return [self._table("", groups, columns.WIDE)]
        return [self._table(group.title, [group], columns.NARROW) for group in groups]

    def _check(self, rows: Sequence[Row]) -> None:
        choice, benchmarks = self.choice, sorted({row.benchmark for row in rows})
        if choice.bench and choice.bench not in benchmarks:
            raise ConfigError(f"no results for {choice.bench!r}{known(choice.bench, benchmarks)}")
        sorted_by = [choice.sort.removeprefix("-")] if choice.sort else []
        columns.check([*choice.columns, *sorted_by], rows)
        if choice.group and choice.group not in GROUPINGS:
            raise ConfigError(f"cannot group by {choice.group!r}{known(choice.group, GROUPINGS)}")
        if choice.differences and not choice.baseline:
            raise ConfigError("differences from whom? Name a method with --baseline")
        labels = {row.label for row in rows if row.document is None}
        if choice.baseline and choice.baseline not in labels:
            raise ConfigError(
                f"no measured method called {choice.baseline!r}{known(choice.baseline, labels)}"
            )

    def _table(self, title: str, groups: Sequence[Group], facts: Sequence[str]) -> Table:
        places = self._places(groups, facts)
        tested = {
            place: self._marks(place.group, place.name)
            for place in places
            if place.group
            and place.name in columns.metrics(place.group.rows)
            and not place.name.endswith(columns.DIFFERENCE)
        }
        rows, spanning = [row for group in groups for row in group.rows], len(groups) > 1
        told = [(_told(place, spanning), marks) for place, marks in tested.items()]
        lines = self._sorted(contestants(groups), places)
        sections = tuple(
            Section(name, tuple(_line(c, places, tested) for c in found), published)
            for (name, published), found in self._sections(lines).items()
        )
        return Table(
            title,
            tuple(_column(place, spanning=spanning) for place in places),
            sections,
            (*notes.of_rows(rows, [p.name for p in places]), *notes.untested(rows, told)),
            notes.of_top(told),
            notes.of_differing(self.choice.baseline, list(tested.values())),
        )

    def _places(self, groups: Sequence[Group], facts: Sequence[str]) -> list[Place]:
        found: list[Place] = []
        for group in groups:
            for name in columns.chosen(self.choice.columns, group.rows, facts):
                place = Place(name, None if name in columns.CONTESTANT else group)
                if place not in found:
                    found.append(place)
        if not any(place.name == "method" for place in found):
            found.insert(0, Place("method", None))
        return sorted(found, key=lambda place: place.group is not None)

    def _marks(self, group: Group, metric: str) -> Marks:
        own = [row for row in group.rows if row.document is None]
        return marks.marked(own, metric, self.choice.baseline or None, self.reader)

    def _sorted(self, lines: Iterable[Contestant], places: Sequence[Place]) -> list[Contestant]:
        """Return lines by the column asked for, or else by their figures from the first on."""
        name = self.choice.sort.removeprefix("-")
        by = [p for p in places if p.group and p.name in columns.metrics(p.group.rows)]
        if name:
            by = [p for p in places if p.name == name] or [Place(name, None)]
        turned = self.choice.sort.startswith("-")
        named = sorted(lines, key=lambda line: line.any.label)
        for place in reversed(by):
            known = [line for line in named if _order(line, place) is not None]
            falling = any(isinstance(_order(line, place), int | float) for line in known)
            known.sort(key=lambda line: _rank(_order(line, place)), reverse=falling != turned)
            named = known + [line for line in named if _order(line, place) is None]
        return named

    def _sections(self, lines: Sequence[Contestant]) -> dict[tuple[str, bool], list[Contestant]]:
        """Return lines by section: the measured ones first, then a section a document."""
        found: dict[tuple[str, bool], list[Contestant]] = {}
        for line in sorted(lines, key=lambda line: _section(line.any, self.choice.group)[:2]):
            name = _section(line.any, self.choice.group)[1]
            found.setdefault((name, line.any.document is not None), []).append(line)
        return found


def _order(line: Contestant, place: Place) -> float | str | None:
    row = line.rows.get(place.group) if place.group else line.any
    return None if row is None else columns.order(place.name, row)


def _rank(order: float | str | None) -> tuple[float, str]:
    return (order, "") if isinstance(order, int | float) else (0.0, order or "")


def contestants(groups: Sequence[Group]) -> list[Contestant]:
    """Return everybody in the groups, each with the rows in those where it is."""
    found: dict[tuple[str, str, str, str], dict[Group, Row]] = {}
    for group in groups:
        for row in group.rows:
            told = "" if row.document is None else row.document.told
            key = (told, row.label, row.base, str(row.iteration))
            found.setdefault(key, {})[group] = row
    return [Contestant(rows) for rows in found.values()]


def _section(row: Row, grouping: str) -> tuple[bool, str]:
    if row.document is not None:
        return True, f"published: {row.document.told}"
    if not grouping:
        return False, ""
    return False, f"{grouping}: {columns.CONTESTANT[grouping].text(row)}"


def _told(place: Place, spanning: bool) -> str:
    column = _column(place, spanning=spanning)
    return f"{column.group}, {column.heading}" if column.group else column.heading


def _column(place: Place, *, spanning: bool) -> Column:
    fact = columns.CONTESTANT.get(place.name) or columns.FACTS.get(place.name)
    group = place.group.title if place.group and spanning else ""
    number = fact.number if fact else True
    return Column(columns.heading(place.name), group, number, figure=fact is None)


def _line(line: Contestant, places: Sequence[Place], tested: Mapping[Place, Marks]) -> Line:
    cells = []
    for place in places:
        row = line.rows.get(place.group) if place.group else line.any
        cells.append(_cell(row, place.name, tested.get(place, Marks())))
    return Line(tuple(cells), tuple(line.rows.values()))


def _cell(row: Row | None, name: str, mark: Marks) -> Cell:
    if row is None:
        return Cell(columns.DASH)
    if fact := columns.CONTESTANT.get(name) or columns.FACTS.get(name):
        return Cell(fact.text(row))
    own = {"top": row.source in mark.top, "differs": row.source in mark.differs}
    return figure(row.estimates.get(name), columns.digits(name, row), **own)
