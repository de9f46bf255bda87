"""Published figures beside measured ones: in their columns only where the judge was asked alike.

What may share a column is for `leaderboard.groups` to say; whatever was judged by somebody else, or
otherwise, stands in a table of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.types import Estimate
from leaderboard import columns
from leaderboard.groups import Group, grouped
from leaderboard.published import ALL, published
from leaderboard.rows import Document, Row

Quote = tuple[Row, Document]
"""A published row and where it stands."""


def with_published(measured: Sequence[Row]) -> list[Group]:
    """Return measured rows and all that is published on their benchmarks, in groups."""
    there = {row.benchmark for row in measured}
    return grouped([*measured, *(row for row in published((ALL,)) if row.benchmark in there)])


def beside(group: Group, every: Sequence[Group]) -> dict[str, Any] | None:
    """Return what is published on a group's benchmark; None where nothing is.

    `documents` are what a reader turns on and off: `shown` from the start are those with figures of
    a method that is measured here. `tables` are sections of rows that name a document by place;
    the one that is `same` continues the group's own columns.
    """
    tables = list(_tables(group, every))
    quotes = [quote for _, _, own in tables for quote in own]
    names = list(dict.fromkeys(_edition(document) for _, document in quotes))
    methods = {row.method or row.label for row in group.rows if row.document is None}
    shown = {_edition(document) for row, document in quotes if row.ours in methods}
    if not quotes:
        return None
    return {
        "documents": [{"name": name, "shown": name in shown} for name in names],
        "tables": [
            {"title": title, "same": same, **_laid_out(own, names)} for title, same, own in tables
        ],
    }


def _tables(group: Group, every: Sequence[Group]) -> Iterator[tuple[str, bool, list[Quote]]]:
    """Yield (title, whether in the group's columns, rows) of what is published."""
    sources = {row.source for row in group.rows}
    for other in every:
        quotes = [(row, row.document) for row in other.rows if row.document is not None]
        same = any(row.document is None and row.source in sources for row in other.rows)
        alone = len(quotes) == len(other.rows) and other.benchmark == group.benchmark
        if quotes and (same or alone):
            yield other.title, same, quotes


def _edition(document: Document) -> str:
    return f"{document.name} ({document.version})"


def _laid_out(quotes: Sequence[Quote], names: Sequence[str]) -> dict[str, Any]:
    """Return the rows by the place that they stand in, and their metrics."""
    sections: dict[Document, list[Row]] = {}
    for row, document in quotes:
        sections.setdefault(document, []).append(row)
    metrics = columns.metrics([row for row, _ in quotes])
    return {
        "metrics": [{"name": n, "heading": columns.heading(n), "digits": 1} for n in metrics],
        "sections": [
            {
                "document": names.index(_edition(document)),
                "told": document.told,
                "rows": [_row(row) for row in rows],
            }
            for document, rows in sections.items()
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "label": columns.CONTESTANT["method"].text(row),
        "figures": {
            n: _figure(found, columns.digits(n, row)) for n, found in row.estimates.items()
        },
        "length": row.mean_length,
        "tokens": row.tokens,
        "iteration": row.iteration,
        "notes": list(row.notes),
    }


def _figure(found: Estimate, digits: int) -> Mapping[str, float | None]:
    return {"value": found.value, "low": found.low, "high": found.high, "digits": digits}
