"""What a reader of a table must know of its figures."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.marks import Marks
from leaderboard.rows import Row

FLAG = "flagged"
"""How a result's note begins that says that the answers may play the judge."""


def of_rows(rows: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Say what stands in brackets, which unit lengths have, and whose answers are flagged."""
    measured = [row for row in rows if row.document is None]
    bounded = any(e.low is not None for r in measured for n, e in r.estimates.items() if n in names)
    said = ["in brackets: 95 % bootstrap intervals over prompts"] if bounded else []
    said += ["mean length in characters"] if "length" in names else []
    return (*(("; ".join(said),) if said else ()), *_published(rows), *_flagged(measured))


def of_top(tested: Sequence[tuple[str, Marks]]) -> str:
    """Say what the group at the top is, and which differences the data can tell at all."""
    told = [(heading, marks) for heading, marks in tested if marks.top]
    if not told:
        return ""
    found = [
        f"{heading} {marks.resolvable:.1f}"
        for heading, marks in told
        if marks.resolvable is not None
    ]
    smallest = (
        f"; the smallest difference that one such test finds four times in five: {', '.join(found)}"
        if found
        else ""
    )
    return (
        f"not told from the highest by paired tests over {_shared([m for _, m in told])} shared "
        f"prompts (5 %, Holm over all pairs){smallest}"
    )


def of_differing(baseline: str, tested: Sequence[Marks]) -> str:
    """Say what a dagger means; nothing where nobody was named."""
    if not baseline or not any(marks.top for marks in tested):
        return ""
    return f"differs from {baseline} by paired tests over shared prompts (5 %, Holm)"


def untested(rows: Sequence[Row], tested: Sequence[Marks]) -> tuple[str, ...]:
    """Say why nothing is set apart where nothing is."""
    measured = [row for row in rows if row.document is None]
    if not measured or any(marks.top for marks in tested):
        return ()
    if len({row.label for row in measured}) < 2:
        return ("one method alone: there is nothing to compare it with",)
    return ("no paired tests: fewer than two results have per-prompt values of these figures",)


def _shared(tested: Sequence[Marks]) -> str:
    fewest, most = min(m.fewest for m in tested), max(m.most for m in tested)
    return str(most) if fewest == most else f"{fewest} to {most}"


def _published(rows: Sequence[Row]) -> tuple[str, ...]:
    if all(row.document is None for row in rows):
        return ()
    return ("published figures are as printed there, answers made by others' settings",)


def _flagged(rows: Sequence[Row]) -> tuple[str, ...]:
    found = [(row.label, note) for row in rows for note in row.notes if note.startswith(FLAG)]
    return tuple(dict.fromkeys(f"{label}: {note}" for label, note in found))
