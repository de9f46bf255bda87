"""Each contestant's difference from a named one as a figure of its own, with a paired interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.types import Estimate
from leaderboard import columns
from leaderboard.groups import Group
from leaderboard.marks import Reader, apart
from leaderboard.rows import Row


def beside(group: Group, baseline: str, reader: Reader) -> Group:
    """Return a group whose measured rows tell how far they lie from the baseline's.

    A metric that no prompt adds to has no difference; nor has the baseline itself.

    Raises:
        StoreError: a result's items are damaged.
    """
    found = [row for row in group.rows if row.label == baseline and row.document is None]
    if not found:
        return group
    return replace(group, rows=tuple(_told(row, found[0], reader) for row in group.rows))


def _told(row: Row, other: Row, reader: Reader) -> Row:
    if row is other or row.document is not None:
        return row
    shared = [name for name in row.estimates if name in other.estimates]
    told = {columns.difference(name): _difference(row, other, name, reader) for name in shared}
    kept = {name: estimate for name, estimate in told.items() if estimate is not None}
    return replace(row, estimates={**row.estimates, **kept})


def _difference(row: Row, other: Row, metric: str, reader: Reader) -> Estimate | None:
    """Return the first less the second over the prompts that both have; None: not known."""
    from harness.statistics.repeats import upper

    rows: Sequence[Row] = (row, other)
    values = [reader.values(each, metric) for each in rows]
    if not all(values):
        return None
    found = apart(rows, values, metric)
    value, error = float(found.value[0, 1]), float(found.error[0, 1])
    if not error >= 0:
        return None
    reach = error * float(upper(found.free[:1, 1])[0])
    return Estimate(value, value - reach, value + reach, error)
