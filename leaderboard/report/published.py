"""Published figures beside measured ones: in their columns only where the judge was asked alike.

What may share a column is for `leaderboard.groups` to say; whatever was judged by somebody else, or
otherwise, stands in a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.types import Estimate
from leaderboard import columns
from leaderboard.groups import Group, group_rows
from leaderboard.publications import ALL, read_publications
from leaderboard.rows import Document, Row

Quote = tuple[Row, Document]
"""A published row and where it stands."""


def group_with_published(measured: Sequence[Row]) -> list[Group]:
    """Return measured rows and all that is published on their benchmarks, in groups."""
    benchmarks = {row.benchmark for row in measured}
    return group_rows(
        [*measured, *(row for row in read_publications((ALL,)) if row.benchmark in benchmarks)]
    )


def published_figures(group: Group, all_groups: Sequence[Group]) -> dict[str, Any] | None:
    """Return what is published on a group's benchmark; None where nothing is.

    `documents` are what a reader turns on and off: `shown` from the start are those with figures of
    a method that is measured here. `tables` are sections of rows that name a document by place;
    the one that is `same` continues the group's own columns.
    """
    tables = list(_tables(group, all_groups))
    quotes = [quote for _, _, cited in tables for quote in cited]
    names = list(dict.fromkeys(_edition(document) for _, document in quotes))
    methods = {row.method or row.label for row in group.rows if row.document is None}
    shown = {_edition(document) for row, document in quotes if row.measured_as in methods}
    if not quotes:
        return None
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
    """Return the rows by the place that they stand in, and their metrics."""
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
                "told": document.citation,
                "rows": [_row(row) for row in rows],
            }
            for document, rows in sections.items()
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "label": columns.CONTESTANT_FACTS["method"].text(row),
        "figures": {
            n: _estimate_data(estimate, columns.metric_digits(n, row))
            for n, estimate in row.estimates.items()
        },
        "length": row.mean_length,
        "tokens": row.tokens,
        "iteration": row.iteration,
        "notes": list(row.notes),
    }


def _estimate_data(estimate: Estimate, digits: int) -> Mapping[str, float | None]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "digits": digits}
