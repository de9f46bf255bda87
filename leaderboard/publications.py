"""Published figures: a CSV for each document, and each paper's own tables beside measured figures.

A line of a CSV is one figure with its document, version, table and the date on which it was copied.
Where a document does not state its judge or baseline, the protocol's own are assumed (AlpacaEval
2.0 and Arena-Hard v0.1: gpt-4-1106-preview; MT-Bench: gpt-4), or `not stated` is written where the
document uses several. Figures are printed as published, with two decimals at most.

In a paper's tables, a measured row is put beside a published one if the benchmark is the same and
the label is the published one, or the method's label here (`ours` in the CSV). Figures of another
judge, or of the same judge with other settings, have their own columns, with a heading that says
so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

from harness.core.config import suggest
from harness.core.io import read_csv
from harness.errors import ConfigError
from harness.types import Estimate
from leaderboard import columns
from leaderboard.groups import Group, group_rows
from leaderboard.rows import Document, Row
from leaderboard.table import Cell, Column, Section, Table, TableRow, estimate_cell

FOLDER = Path(__file__).parent / "published"
ALL = "all"
MAX_DIGITS = 2
NOTE = "published figures are as printed in the paper; an empty cell has not been measured here"

CsvRow = dict[str, str]
PaperColumn = tuple[str, str, str]
"""Benchmark, metric, and judge."""
MeasuredColumns = Mapping[str, Sequence[Row]]
"""By the heading of a column: its measured rows."""


def document_names() -> list[str]:
    """Return the names of the documents."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


def read_publications(names: Iterable[str]) -> list[Row]:
    """Return the rows of documents, in the order of their tables.

    Raises:
        ConfigError: there is no document of that name.
    """
    requested = list(names)
    for name in requested:
        if name not in (ALL, *document_names()):
            raise ConfigError(
                f"no document called {name!r}{suggest(name, [*document_names(), ALL])}"
            )
    selected = [name for name in document_names() if name in requested or ALL in requested]
    return [row for name in selected for row in _rows(FOLDER / f"{name}.csv")]


@cache
def _rows(path: Path) -> tuple[Row, ...]:
    lines = read_csv(path)
    groups: dict[tuple[str, ...], list[CsvRow]] = {}
    for line in lines:
        keys = ("version", "table", "label", "base", "iteration", "benchmark", "judge")
        groups.setdefault(tuple(line[key] for key in keys), []).append(line)
    return tuple(_row(group) for group in groups.values())


def _row(lines: Sequence[CsvRow]) -> Row:
    first = lines[0]
    document = Document(*(first[key] for key in ("document", "version", "table", "read")))
    return Row(
        label=first["label"],
        benchmark=first["benchmark"],
        judge=first["judge"],
        estimates={line["metric"]: _estimate(line) for line in lines},
        prompt_count=None,
        judged_count=None,
        mean_length=_number(_first(lines, "mean_length")),
        source=document.citation,
        baseline=first["baseline"],
        tokens=_number(_first(lines, "tokens")),
        base=first["base"],
        method=first["ours"] or first["label"],
        iteration=int(first["iteration"]) if first["iteration"] else None,
        notes=tuple(dict.fromkeys(line["note"] for line in lines if line["note"])),
        document=document,
        measured_as=first["ours"],
        digits={line["metric"]: _digits(line["value"]) for line in lines},
    )


def _estimate(line: CsvRow) -> Estimate:
    low, high, error = (_number(line[key]) for key in ("low", "high", "standard_error"))
    return Estimate(float(line["value"]), low, high, error)


def _first(lines: Sequence[CsvRow], key: str) -> str:
    return next((line[key] for line in lines if line[key]), "")


def _number(text: str) -> float | None:
    return float(text) if text else None


def _digits(text: str) -> int:
    return min(MAX_DIGITS, len(text.partition(".")[2]))


def paper_tables(name: str, measured: Sequence[Row]) -> list[Table]:
    """Return the tables of a document.

    Raises:
        ConfigError: there is no document of that name.
    """
    rows = sorted(read_publications([name]), key=lambda row: row.source)
    return [
        _table(source, list(members), measured) for source, members in groupby(rows, _row_source)
    ]


def _row_source(row: Row) -> str:
    return row.source


def _table(title: str, rows: Sequence[Row], measured: Sequence[Row]) -> Table:
    paper_columns = list(
        dict.fromkeys((r.benchmark, m, r.judge) for r in rows for m in r.estimates)
    )
    matching = [
        row
        for row in measured
        if any(_is_counterpart(row, published_row) for published_row in rows)
    ]
    measured_columns = {
        paper_column: _measured_columns(paper_column, group_rows(matching))
        for paper_column in paper_columns
    }
    heads = [
        column
        for paper_column in paper_columns
        for column in _paper_heads(paper_column, list(measured_columns[paper_column]))
    ]
    table_rows = []
    for _, members in groupby(rows, lambda row: (row.label, row.base)):
        published_rows = list(members)
        measured_rows = [
            row
            for row in matching
            if any(_is_counterpart(row, published_row) for published_row in published_rows)
        ]
        table_rows += _table_rows(published_rows, measured_rows, measured_columns)
    head = Column("method")
    return Table(title, (head, *heads), (Section("", tuple(table_rows)),), (NOTE,))


def _is_counterpart(measured: Row, published: Row) -> bool:
    label = measured.shared_label or measured.label
    has_label = label in (published.label, published.measured_as)
    has_base = not (measured.base and published.base) or measured.base == published.base
    return has_label and has_base and measured.benchmark == published.benchmark


def _measured_columns(paper_column: PaperColumn, groups: Sequence[Group]) -> MeasuredColumns:
    """Return measured rows by the heading of their column; the paper's own judge comes first."""
    benchmark, metric, judge = paper_column
    candidates = [g for g in groups if g.benchmark == benchmark]
    measuring = [g for g in candidates if any(metric in row.estimates for row in g.rows)]
    same_judge = [group for group in measuring if group.judge == judge]
    rows_by_heading: dict[str, Sequence[Row]] = {
        "measured": same_judge[0].rows if len(same_judge) == 1 else ()
    }
    for group in sorted(measuring, key=lambda group: group.title):
        if same_judge != [group]:
            rows_by_heading[group.title.replace(benchmark, "measured", 1)] = group.rows
    return rows_by_heading


def _paper_heads(paper_column: PaperColumn, names: Sequence[str]) -> list[Column]:
    benchmark, metric, _ = paper_column
    group = f"{benchmark} {columns.column_heading(metric)}"
    return [
        Column(name, group, is_numeric=True, holds_estimates=True) for name in ("published", *names)
    ]


def _table_rows(
    published_rows: Sequence[Row],
    measured_rows: Sequence[Row],
    measured_columns: Mapping[PaperColumn, MeasuredColumns],
) -> list[TableRow]:
    """Return a row for a published method, or one for each of several results of its label."""
    label = published_rows[0].label
    shared = {row.label for row in measured_rows if row.shared_label}
    if not shared:
        cells = _cells(label, published_rows, measured_columns)
        return [TableRow(cells, (*published_rows, *measured_rows))]
    table_rows = []
    for name in dict.fromkeys(row.label for row in measured_rows):
        columns_of_label = {
            paper_column: {
                heading: [row for row in rows if row.label == name]
                for heading, rows in columns_by_heading.items()
            }
            for paper_column, columns_by_heading in measured_columns.items()
        }
        own = [row for row in measured_rows if row.label == name]
        cells = _cells(f"{label}, measured: {name}", published_rows, columns_of_label)
        table_rows.append(TableRow(cells, (*published_rows, *own)))
    return table_rows


def _cells(
    label: str,
    published_rows: Sequence[Row],
    measured_columns: Mapping[PaperColumn, MeasuredColumns],
) -> tuple[Cell, ...]:
    cells = [Cell(label)]
    for (benchmark, metric, _), measured in measured_columns.items():
        row = next(
            (r for r in published_rows if r.benchmark == benchmark and metric in r.estimates), None
        )
        cells.append(Cell("") if row is None else _row_cell(row, metric))
        for rows in measured.values():
            matching = [
                r for r in rows if row and _is_counterpart(r, row) and metric in r.estimates
            ]
            cells.append(_row_cell(matching[0], metric) if matching else Cell(""))
    return tuple(cells)


def _row_cell(row: Row, metric: str) -> Cell:
    estimate = row.estimates[metric]
    return estimate_cell(estimate, columns.metric_digits(metric, row), top=False, differs=False)
