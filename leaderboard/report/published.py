"""Published figures beside measured ones: in their columns only under the same judge and protocol.

`leaderboard.groups` decides what may share a column; figures of another judge, or of the same judge
with other settings, have a table of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leaderboard import columns
from leaderboard.groups import Group, group_rows
from leaderboard.publications import ALL, read_publications
from leaderboard.rows import Document, Row
from leaderboard.table import estimate_data

Quote = tuple[Row, Document]
"""A published row and the document that prints it."""


def group_with_published(measured: Sequence[Row]) -> list[Group]:
    """Return measured rows and all that is published on their benchmarks, in groups."""
    benchmarks = {row.benchmark for row in measured}
    return group_rows(
        [*measured, *(row for row in read_publications((ALL,)) if row.benchmark in benchmarks)]
    )


def published_figures(group: Group, all_groups: Sequence[Group]) -> dict[str, Any] | None:
    """Return what is published on a group's benchmark; None where nothing is.

    A reader turns `documents` on and off: those with figures of a method that is measured here are
    `shown` at first. `tables` hold sections of rows, each with the index of its document; the
    table that is `same` continues the group's own columns.
    """
    tables = list(_tables(group, all_groups))
    quotes = [quote for _, _, cited in tables for quote in cited]
    if not quotes:
        return None
    names = list(dict.fromkeys(_edition(document) for _, document in quotes))
    methods = {row.method or row.label for row in group.rows if row.document is None}
    shown = {_edition(document) for row, document in quotes if row.measured_as in methods}
    return {
        "documents": [{"name": name, "shown": name in shown} for name in names],
        "tables": [
            {"title": title, "same": same, **_layout(cited, names)} for title, same, cited in tables
        ],
    }


def _tables(group: Group, all_groups: Sequence[Group]) -> Iterator[tuple[str, bool, list[Quote]]]:
    """Yield (title, whether in the group's columns, rows) of what is published."""
    sources = {row.source for row in group.rows}
    for other in all_groups:
        quotes = [(row, row.document) for row in other.rows if row.document is not None]
        same = any(row.document is None and row.source in sources for row in other.rows)
        is_separate = len(quotes) == len(other.rows) and other.benchmark == group.benchmark
        if quotes and (same or is_separate):
            yield other.title, same, quotes


def _edition(document: Document) -> str:
    return f"{document.name} ({document.version})"


def _layout(quotes: Sequence[Quote], names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of published rows, and the rows by table of a document."""
    sections: dict[Document, list[Row]] = {}
    for row, document in quotes:
        sections.setdefault(document, []).append(row)
    metrics = columns.metric_names([row for row, _ in quotes])
    return {
        "metrics": [
            {"name": n, "heading": columns.column_heading(n), "digits": 1} for n in metrics
        ],
        "sections": [
            {
                "document": names.index(_edition(document)),
                "citation": document.citation,
                "rows": [_row(row) for row in rows],
            }
            for document, rows in sections.items()
        ],
    }


def _row(row: Row) -> Mapping[str, Any]:
    return {
        "label": columns.CONTESTANT_FACTS["method"].text(row),
        "figures": {
            name: {**estimate_data(estimate), "digits": columns.metric_digits(name, row)}
            for name, estimate in row.estimates.items()
        },
        "length": row.mean_length,
        "tokens": row.tokens,
        "iteration": row.iteration,
        "notes": list(row.notes),
    }
