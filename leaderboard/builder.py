"""Builds tables from rows as a user's options say: a column is one metric, protocol and judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.core.config import suggest
from harness.core.workspace.sweeps import SweepRecord
from harness.errors import ConfigError, InputError
from leaderboard import columns, notes, publications, seeds, significance, sweeps
from leaderboard.check import CheckSummary, check_numbers
from leaderboard.groups import Group, group_rows
from leaderboard.labels import distinguish
from leaderboard.measurements import read_rows
from leaderboard.publications import read_publications
from leaderboard.rows import Row
from leaderboard.significance import ItemsReader, SignificanceMarks
from leaderboard.table import Cell, Column, Section, Table, TableRow, estimate_cell

GROUPINGS = ("base", "method", "iteration")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """A user's options, as plain data that a printed table can carry."""

    bench: str = ""
    """Only this benchmark; empty: all."""
    columns: tuple[str, ...] = ()
    """In order; empty: the default columns."""
    sort: str = ""
    """A column's name; empty: the first metric. Numbers descend, texts ascend; `-NAME` reverses."""
    group: str = ""
    """`base`, `method` or `iteration`: a section for each value."""
    baseline: str = ""
    """The method that others are compared with; empty: none."""
    differences: bool = False
    """Adds a column with the difference from the baseline to each metric."""
    wide: bool = False
    """One table across benchmarks instead of a table for each."""
    published: tuple[str, ...] = ()
    """The documents whose figures are added; `all` for all."""
    pool: bool = False
    """One row for all seeds of a setting."""
    sweep: str = ""
    """Only the runs of this sweep; empty: all results."""
    split: bool = False
    """LaTeX tables that are too wide for a page are split by columns."""
    paper: str = ""
    """The document whose own tables are printed; empty: none."""

    def to_data(self) -> dict[str, Any]:
        """Return the options as plain data, without the defaults."""
        return {key: value for key, value in asdict(self).items() if value}


def options_from_data(data: Mapping[str, Any]) -> TableOptions:
    """Return the options with which a table was printed.

    Raises:
        InputError: this version has no such options.
    """
    try:
        lists = {key: tuple(data[key]) for key in ("columns", "published") if key in data}
        return TableOptions(**{**data, **lists})
    except TypeError as error:
        raise InputError(f"the table was printed by another version ({error})") from error


@dataclass(frozen=True, slots=True)
class ColumnKey:
    """A column of a table under construction."""

    name: str
    group: Group | None
    """None for facts about a contestant that are the same on every benchmark."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A row of a table under construction: one contestant's rows by group."""

    rows: Mapping[Group, Row]

    @property
    def first_row(self) -> Row:
        """The row that identifies the contestant."""
        return next(iter(self.rows.values()))


@dataclass
class TableBuilder:
    """Builds tables from rows by a user's options."""

    options: TableOptions
    reader: ItemsReader = field(default_factory=ItemsReader)
    sweep: SweepRecord | None = None
    """The sweep whose runs the rows are."""

    def build(self, rows: Sequence[Row]) -> list[Table]:
        """Return a table for each benchmark and judge, or a wide one.

        Raises:
            ConfigError: no row fits the options; the message lists what exists.
            StoreError: a result's items are damaged.
        """
        if self.options.pool:
            rows = seeds.pool_seeds(rows, self.reader)
            rows = sweeps.label_settings(rows, self.sweep) if self.sweep else rows
            rows = distinguish(rows)
        self._check(rows)
        groups = group_rows([r for r in rows if self.options.bench in ("", r.benchmark)])
        if self.options.differences:
            groups = [
                significance.with_differences(g, self.options.baseline, self.reader) for g in groups
            ]
        if self.options.wide:
            return [self._table("", groups, columns.WIDE_FACTS)]
        return [self._table(group.title, [group], columns.NARROW_FACTS) for group in groups]

    def _check(self, rows: Sequence[Row]) -> None:
        options, benchmarks = self.options, sorted({row.benchmark for row in rows})
        if options.bench and options.bench not in benchmarks:
            raise ConfigError(
                f"no results for {options.bench!r}{suggest(options.bench, benchmarks)}"
            )
        sorted_by = [options.sort.removeprefix("-")] if options.sort else []
        columns.check_columns([*options.columns, *sorted_by], rows)
        if options.group and options.group not in GROUPINGS:
            raise ConfigError(
                f"cannot group by {options.group!r}{suggest(options.group, GROUPINGS)}"
            )
        if options.differences and not options.baseline:
            raise ConfigError("differences need a baseline: name a method with --baseline")
        labels = {row.label for row in rows if row.document is None}
        if options.baseline and options.baseline not in labels:
            raise ConfigError(
                f"no measured method called {options.baseline!r}{suggest(options.baseline, labels)}"
            )

    def _table(self, title: str, groups: Sequence[Group], facts: Sequence[str]) -> Table:
        column_keys = self._column_keys(groups, facts)
        marks_by_column = {
            key: self._marks(key.group, key.name)
            for key in column_keys
            if key.group
            and key.name in columns.metric_names(key.group.rows)
            and not key.name.endswith(columns.DIFFERENCE)
        }
        rows, spans_groups = [row for group in groups for row in group.rows], len(groups) > 1
        labeled_marks = [
            (_column_label(key, spans_groups), column_marks)
            for key, column_marks in marks_by_column.items()
        ]
        ordered = self._sort(gather_contestants(groups), column_keys)
        sections = tuple(
            Section(
                name, tuple(_table_row(c, column_keys, marks_by_column) for c in members), published
            )
            for (name, published), members in self._sections(ordered).items()
        )
        return Table(
            title,
            tuple(_column(key, spans_groups=spans_groups) for key in column_keys),
            sections,
            (
                *notes.row_notes(rows, [p.name for p in column_keys]),
                *notes.single_seed_note(labeled_marks),
                *notes.untested_notes(rows, labeled_marks),
            ),
            notes.top_note(labeled_marks),
            notes.differs_note(self.options.baseline, labeled_marks),
        )

    def _column_keys(self, groups: Sequence[Group], facts: Sequence[str]) -> list[ColumnKey]:
        keys: list[ColumnKey] = []
        for group in groups:
            for name in columns.choose_columns(self.options.columns, group.rows, facts):
                key = ColumnKey(name, None if name in columns.CONTESTANT_FACTS else group)
                if key not in keys:
                    keys.append(key)
        if not any(key.name == "method" for key in keys):
            keys.insert(0, ColumnKey("method", None))
        return sorted(keys, key=lambda key: key.group is not None)

    def _marks(self, group: Group, metric: str) -> SignificanceMarks:
        measured = [row for row in group.rows if row.document is None]
        return significance.compare_rows(
            measured, metric, self.options.baseline or None, self.reader
        )

    def _sort(
        self, contestants: Iterable[Contestant], column_keys: Sequence[ColumnKey]
    ) -> list[Contestant]:
        """Return contestants by the requested column, or else by all metrics in order."""
        name = self.options.sort.removeprefix("-")
        sort_columns = [
            p for p in column_keys if p.group and p.name in columns.metric_names(p.group.rows)
        ]
        if name:
            sort_columns = [p for p in column_keys if p.name == name] or [ColumnKey(name, None)]
        is_reversed = self.options.sort.startswith("-")
        ordered = sorted(contestants, key=lambda contestant: contestant.first_row.label)
        for key in reversed(sort_columns):
            valued = [
                contestant for contestant in ordered if _sort_value(contestant, key) is not None
            ]
            is_descending = any(
                isinstance(_sort_value(contestant, key), int | float) for contestant in valued
            )
            valued.sort(
                key=lambda contestant: _sort_key(_sort_value(contestant, key)),
                reverse=is_descending != is_reversed,
            )
            ordered = valued + [
                contestant for contestant in ordered if _sort_value(contestant, key) is None
            ]
        return ordered

    def _sections(
        self, contestants: Sequence[Contestant]
    ) -> dict[tuple[str, bool], list[Contestant]]:
        """Return contestants by section: measured ones first, then a section for each document."""
        sections: dict[tuple[str, bool], list[Contestant]] = {}
        for contestant in sorted(
            contestants,
            key=lambda contestant: _section_key(contestant.first_row, self.options.group)[:2],
        ):
            name = _section_key(contestant.first_row, self.options.group)[1]
            sections.setdefault((name, contestant.first_row.document is not None), []).append(
                contestant
            )
        return sections


def _sort_value(contestant: Contestant, key: ColumnKey) -> float | str | None:
    row = contestant.rows.get(key.group) if key.group else contestant.first_row
    return None if row is None else columns.sort_value(key.name, row)


def _sort_key(value: float | str | None) -> tuple[float, str]:
    return (value, "") if isinstance(value, int | float) else (0.0, value or "")


def gather_contestants(groups: Sequence[Group]) -> list[Contestant]:
    """Return the contestants of groups, each with its rows by group; no row is left out."""
    rows_by_contestant: dict[tuple[str, str, str, str, int], dict[Group, Row]] = {}
    for group in groups:
        counts: Counter[tuple[str, str, str, str]] = Counter()
        for row in group.rows:
            citation = "" if row.document is None else row.document.citation
            key = (citation, row.label, row.base, str(row.iteration))
            rows_by_contestant.setdefault((*key, counts[key]), {})[group] = row
            counts[key] += 1
    return [Contestant(rows) for rows in rows_by_contestant.values()]


def _section_key(row: Row, grouping: str) -> tuple[bool, str]:
    if row.document is not None:
        return True, f"published: {row.document.citation}"
    if not grouping:
        return False, ""
    return False, f"{grouping}: {columns.CONTESTANT_FACTS[grouping].text(row)}"


def _column_label(key: ColumnKey, spans_groups: bool) -> str:
    column = _column(key, spans_groups=spans_groups)
    return f"{column.group}, {column.heading}" if column.group else column.heading


def _column(key: ColumnKey, *, spans_groups: bool) -> Column:
    fact = columns.CONTESTANT_FACTS.get(key.name) or columns.RESULT_FACTS.get(key.name)
    group = key.group.title if key.group and spans_groups else ""
    number = fact.is_numeric if fact else True
    return Column(columns.column_heading(key.name), group, number, holds_estimates=fact is None)


def _table_row(
    contestant: Contestant,
    column_keys: Sequence[ColumnKey],
    marks_by_column: Mapping[ColumnKey, SignificanceMarks],
) -> TableRow:
    cells = []
    for key in column_keys:
        row = contestant.rows.get(key.group) if key.group else contestant.first_row
        cells.append(_cell(row, key.name, marks_by_column.get(key, SignificanceMarks())))
    return TableRow(tuple(cells), tuple(contestant.rows.values()))


def _cell(row: Row | None, name: str, mark: SignificanceMarks) -> Cell:
    if row is None:
        return Cell(columns.DASH)
    if fact := columns.CONTESTANT_FACTS.get(name) or columns.RESULT_FACTS.get(name):
        return Cell(fact.text(row))
    emphasis = {"top": row.source in mark.top, "differs": row.source in mark.differing}
    return estimate_cell(row.estimates.get(name), columns.metric_digits(name, row), **emphasis)


def build_tables(workspace: Path, options: TableOptions) -> tuple[list[Table], tuple[str, ...]]:
    """Return the tables of a workspace, and messages about results that are left out.

    Raises:
        StoreError: there are no results, or a file is damaged.
        ConfigError: no row fits the options.
    """
    measured_rows = read_rows(workspace, required=not (options.paper or options.published))
    if options.paper:
        return publications.paper_tables(options.paper, measured_rows.rows), measured_rows.messages
    sweep = sweeps.find_sweep(workspace, options.sweep) if options.sweep else None
    measured = sweeps.select_rows(measured_rows.rows, sweep) if sweep else measured_rows.rows
    rows = [*measured, *read_publications(options.published)]
    return TableBuilder(options, sweep=sweep).build(rows), measured_rows.messages


def check_paper(path: Path, workspace: Path) -> CheckSummary:
    """Rebuild a workspace's tables in a paper, and compare every number.

    Raises:
        InputError: the file cannot be read, or holds no such table.
        CheckError: a number differs from the results.
    """

    def rebuild(data: Any) -> list[Table]:
        return build_tables(workspace, options_from_data(data))[0]

    return check_numbers(path, rebuild)
