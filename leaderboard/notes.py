"""What a reader of a table must know of its figures."""

from __future__ import annotations

from collections.abc import Sequence

from harness.accelerators import PROCESSOR
from leaderboard import columns
from leaderboard.groups import SETTING, key_of
from leaderboard.marks import Marks
from leaderboard.rows import Row

COUNTED = (
    "hours: of training and answering, the judge left out; a stage that methods share counts in "
    "full for each of them"
)
UNTOLD = "fewer than two results tell what each prompt adds to the figure"
FLAG = "flagged"
"""How a result's note begins that says that the answers may play the judge."""

NAMED = 8
"""How many of the contestants that a note is about it names."""


def of_rows(rows: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Say what stands in brackets, which unit lengths have, and whose answers are flagged."""
    measured = [row for row in rows if row.document is None]
    bounded = any(e.low is not None for r in measured for n, e in r.estimates.items() if n in names)
    said = ["in brackets: 95 % bootstrap intervals over prompts"] if bounded else []
    said += ["mean length in characters"] if "length" in names else []
    if any(name.endswith(columns.DIFFERENCE) for name in names):
        said += ["Δ: paired differences from the baseline over shared prompts, 95 % intervals by t"]
    first = ("; ".join(said),) if said else ()
    others = (
        *_of_seeds(measured, names),
        *_published(rows),
        *_untold(measured),
        *_of_hours(measured, names),
    )
    return (*first, *others, *_flagged(measured))


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


def untested(rows: Sequence[Row], tested: Sequence[tuple[str, Marks]]) -> tuple[str, ...]:
    """Say why nothing is set apart where nothing is, in a column or in the whole table."""
    measured = [row for row in rows if row.document is None]
    bare = [heading for heading, marks in tested if not marks.top]
    if not measured or not bare:
        return ()
    if len(bare) < len(tested):
        return (f"no paired tests of {', '.join(bare)}: {UNTOLD}",)
    if len({row.label for row in measured}) < 2:
        return ("one method alone: there is nothing to compare it with",)
    return (f"no paired tests: {UNTOLD}",)


def _shared(tested: Sequence[Marks]) -> str:
    fewest, most = min(m.fewest for m in tested), max(m.most for m in tested)
    return str(most) if fewest == most else f"{fewest} to {most}"


def _published(rows: Sequence[Row]) -> tuple[str, ...]:
    if all(row.document is None for row in rows):
        return ()
    return ("published figures are as printed there, answers made by others' settings",)


def _untold(measured: Sequence[Row]) -> tuple[str, ...]:
    """Name who shares a column without telling what the judge was asked with.

    The baseline itself is not named: nothing is asked about equal answers.
    """
    known = {key_of(row)[:SETTING] for row in measured if row.judged_with}
    asked = [row for row in measured if row.label != row.baseline]
    told = [r.label for r in asked if not r.judged_with and key_of(r)[:SETTING] in known]
    if not told:
        return ()
    return (f"not told what the judge was asked with (temperature, ...): {_listed(told)}",)


def _of_hours(measured: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Say what hours count, of which accelerators they are, and why some are missing."""
    if not {"gpu-hours", "processor-hours"} & set(names):
        return ()
    on: dict[str, list[str]] = {}
    for row in measured:
        for kind in ("not known",) if row.hours is None else sorted(row.hours):
            on.setdefault(kind, []).append(row.label)
    bare = [r.label for r in measured if r.hours is not None and r.gpu_hours is None]
    gpus = [k for k in on if k not in ("not known", PROCESSOR)]
    told = [f"on {kind}: {_listed(on[kind])}" for kind in gpus]
    told += [f"on processors alone, no GPU hours: {_listed(bare)}"] if bare else []
    told += [f"not known: {_listed(on['not known'])}"] if "not known" in on else []
    return ("; ".join([COUNTED, *told]),)


def _of_seeds(measured: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Tell every seed's figures, where rows are means over seeds."""
    told = []
    for row in (row for row in measured if row.repeats):
        seeds = ", ".join(str(each.seed) for each in row.repeats)
        figures = [
            f"{columns.heading(name)} {' / '.join(_figure(each, name) for each in row.repeats)}"
            for name in row.estimates
            if name in names
        ]
        told.append(f"{row.label}: mean over seeds {seeds} ({'; '.join(figures)})")
    return (f"{'; '.join(told)}; intervals and tests are over prompts and seeds",) if told else ()


def _figure(row: Row, name: str) -> str:
    return f"{row.estimates[name].value:.{columns.digits(name, row)}f}"


def _listed(labels: Sequence[str]) -> str:
    names = list(dict.fromkeys(labels))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _flagged(rows: Sequence[Row]) -> tuple[str, ...]:
    found = [(row.label, note) for row in rows for note in row.notes if note.startswith(FLAG)]
    return tuple(dict.fromkeys(f"{label}: {note}" for label, note in found))
