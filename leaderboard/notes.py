"""The notes under a table: intervals, tests, hours, published figures, flagged answers."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.hardware import CPU
from leaderboard import columns
from leaderboard.groups import SETTINGS_INDEX, group_key
from leaderboard.rows import Row
from leaderboard.seeds import COUNTED_ONCE
from leaderboard.significance import SEED_SPREAD, SignificanceMarks

HOURS_NOTE = (
    "hours: of training and answering, without the judge; a stage that methods share counts in "
    "full for each of them"
)
ORDER = "order of the rows in cross-validation"
"""In a note of a result whose length-controlled figure depends on it."""
PUBLISHED_ERROR = "lc_standard_error"
PUBLISHED_ERROR_NOTE = (
    "lc standard error: as alpaca_eval publishes it, the spread of the fitted win rates between "
    "instructions; the error of the length-controlled figure is its interval's"
)
ONCE = COUNTED_ONCE.partition("{}")[0]
"""In a note of a result that is not counted again."""
MISSING_SCORES = "fewer than two results have per-prompt values of the figure"
FLAG = "flagged"
"""The beginning of a result's note that its answers may game the judge."""

IDENTICAL_MARKED, SIMULATED_PROMPTS = (12, 14), 200
"""Percent of pairs of identical methods that differ significantly, by simulations of as many
prompts with training seeds that vary by `SEED_SPREAD` (benchmarks/power.py)."""
WHOLE_RANGE = 100.0
"""No win rates differ by more."""
INTERVALS = (
    "in brackets: 95 % intervals over prompts (bootstrap, or exact bounds where those are wider)"
)
MAX_LABELS = 8
"""Contestants that a note names at most."""


def row_notes(rows: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Return the notes on intervals, units, seeds, published figures, hours and flagged answers."""
    measured = [row for row in rows if row.document is None]
    has_bounds = any(
        e.low is not None for r in measured for n, e in r.estimates.items() if n in names
    )
    phrases = [INTERVALS] if has_bounds else []
    phrases += ["mean length in characters"] if "length" in names else []
    if any(name.endswith(columns.DIFFERENCE) for name in names):
        phrases += ["Δ: paired differences from the baseline over shared prompts, 95 % t intervals"]
    first = ("; ".join(phrases),) if phrases else ()
    others = (
        *_seed_notes(measured, names),
        *_published_notes(rows),
        *_unknown_settings_notes(measured),
        *_hours_notes(measured, names),
        *_length_control_notes(measured, names),
    )
    return (*first, *others, *_flag_notes(measured))


def top_note(tested: Sequence[tuple[str, SignificanceMarks]]) -> str:
    """Return the note on the top group, with the minimum detectable difference of each column."""
    marked = [(heading, marks) for heading, marks in tested if marks.top]
    if not marked:
        return ""
    detectable = _detectable([(heading, marks.detectable) for heading, marks in marked])
    prompts = _shared_prompts([marks for _, marks in marked])
    return (
        f"not significantly different from the best by paired tests over {prompts} shared prompts "
        f"(5 %, Holm over all pairs){detectable}"
    )


def differs_note(baseline: str, tested: Sequence[tuple[str, SignificanceMarks]]) -> str:
    """Return the note on the dagger; empty without a baseline."""
    marked = [(heading, marks) for heading, marks in tested if marks.top]
    if not baseline or not marked:
        return ""
    detectable = _detectable([(head, marks.detectable_from_baseline) for head, marks in marked])
    return f"differs from {baseline} by paired tests over shared prompts (5 %, Holm){detectable}"


def _detectable(columns_tested: Sequence[tuple[str, float | None]]) -> str:
    """Return the minimum detectable difference of each column, as the end of a note."""
    figures = [
        f"{heading} {value:.1f}" if value <= WHOLE_RANGE else f"{heading} none, add seeds"
        for heading, value in columns_tested
        if value is not None
    ]
    beginning = "; minimum detectable difference at 80 % power: "
    return f"{beginning}{', '.join(figures)}" if figures else ""


def single_seed_note(tested: Sequence[tuple[str, SignificanceMarks]]) -> tuple[str, ...]:
    """Return the note on what the tests of single training seeds leave out."""
    rates = [
        f"{100 * marks.identical_marked:.0f} % ({heading})"
        for heading, marks in tested
        if marks.identical_marked is not None
    ]
    if not rates:
        return ()
    low, high = IDENTICAL_MARKED
    return (
        "each method is one training seed: the variation between seeds is not in the intervals nor "
        f"in the tests. Were it {SEED_SPREAD} logits, two runs of an identical method would be "
        f"marked as different in {rates[0]} of comparisons with the precision of this table, "
        f"instead of 5 %; in simulations, {low} to {high} % with {SIMULATED_PROMPTS} prompts won "
        "or lost. Train several seeds, and add --pool-seeds",
    )


def untested_notes(
    rows: Sequence[Row], tested: Sequence[tuple[str, SignificanceMarks]]
) -> tuple[str, ...]:
    """Return the reason why a column, or the whole table, has no paired tests."""
    measured = [row for row in rows if row.document is None]
    unmarked = [heading for heading, marks in tested if not marks.top]
    if not measured or not unmarked:
        return ()
    if len(unmarked) < len(tested):
        return (f"no paired tests of {', '.join(unmarked)}: {MISSING_SCORES}",)
    if len({row.label for row in measured}) < 2:
        return ("only one method: there is nothing to compare it with",)
    return (f"no paired tests: {MISSING_SCORES}",)


def _shared_prompts(tested: Sequence[SignificanceMarks]) -> str:
    fewest, most = min(m.fewest_prompts for m in tested), max(m.most_prompts for m in tested)
    return str(most) if fewest == most else f"{fewest} to {most}"


def _published_notes(rows: Sequence[Row]) -> tuple[str, ...]:
    if all(row.document is None for row in rows):
        return ()
    return (
        "published figures are as printed there; their answers were generated with other settings",
    )


def _unknown_settings_notes(measured: Sequence[Row]) -> tuple[str, ...]:
    """Name the rows that share a column although their judge's settings are not known.

    The baseline itself is left out: identical answers are not judged.
    """
    known_keys = {group_key(row)[:SETTINGS_INDEX] for row in measured if row.judge_settings}
    judged = [row for row in measured if row.label != row.baseline]
    labels = [
        r.label
        for r in judged
        if not r.judge_settings and group_key(r)[:SETTINGS_INDEX] in known_keys
    ]
    if not labels:
        return ()
    return (f"the judge's settings (temperature, ...) are not known for: {_list_labels(labels)}",)


def _hours_notes(measured: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Return the note on what hours count, their devices, and why some are missing."""
    if not {"gpu-hours", "cpu-hours"} & set(names):
        return ()
    labels_by_device: dict[str, list[str]] = {}
    for row in measured:
        for device in ("not known",) if row.hours is None else sorted(row.hours):
            labels_by_device.setdefault(device, []).append(row.label)
    cpu_only = [r.label for r in measured if r.hours is not None and r.gpu_hours is None]
    gpus = [device for device in labels_by_device if device not in ("not known", CPU)]
    phrases = [f"on {device}: {_list_labels(labels_by_device[device])}" for device in gpus]
    phrases += [f"on CPUs alone, no GPU hours: {_list_labels(cpu_only)}"] if cpu_only else []
    phrases += (
        [f"not known: {_list_labels(labels_by_device['not known'])}"]
        if "not known" in labels_by_device
        else []
    )
    return ("; ".join([HOURS_NOTE, *phrases]),)


def _seed_notes(measured: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Return every seed's figures where rows are means, and what is not a mean or counts once."""
    again = [note for row in measured for note in row.notes if ONCE in note]
    several = [row for row in measured if len(row.repeats) > 1]
    if not several:
        return tuple(dict.fromkeys(again))
    phrases = []
    for row in several:
        seeds = ", ".join(str(repeat.seed) for repeat in row.repeats)
        figures = [
            f"{columns.column_heading(name)} {_seed_figures(row, name)}"
            for name in row.estimates
            if name in names and all(name in repeat.estimates for repeat in row.repeats)
        ]
        phrases.append(f"{row.label}: mean over seeds {seeds} ({'; '.join(figures)})")
    first = f"{'; '.join(phrases)}; intervals and tests are over prompts and seeds"
    single = [row.label for row in measured if len(row.repeats) == 1]
    return (first, *_one_seed_notes(single), *dict.fromkeys(again))


def _one_seed_notes(labels: Sequence[str]) -> tuple[str, ...]:
    if not labels:
        return ()
    return (
        f"1 seed: {_list_labels(labels)}; their intervals are over prompts alone, and the tests "
        "take the variation between seeds from the methods with several",
    )


def _length_control_notes(measured: Sequence[Row], names: Sequence[str]) -> tuple[str, ...]:
    """Return what the order of the folds alone changes, and what the published error is."""
    is_shown = "length_controlled_win_rate" in names
    orders = [(r.label, note) for r in measured for note in r.notes if ORDER in note and is_shown]
    notes = [f"{label}: {note}" for label, note in orders]
    if PUBLISHED_ERROR in names:
        notes.append(PUBLISHED_ERROR_NOTE)
    return tuple(dict.fromkeys(notes))


def _seed_figures(row: Row, name: str) -> str:
    return " / ".join(_format_figure(repeat, name) for repeat in row.repeats)


def _format_figure(row: Row, name: str) -> str:
    return f"{row.estimates[name].value:.{columns.metric_digits(name, row)}f}"


def _list_labels(labels: Sequence[str]) -> str:
    names = list(dict.fromkeys(labels))
    more = f" and {len(names) - MAX_LABELS} more" if len(names) > MAX_LABELS else ""
    return ", ".join(names[:MAX_LABELS]) + more


def _flag_notes(rows: Sequence[Row]) -> tuple[str, ...]:
    flags = [(row.label, note) for row in rows for note in row.notes if note.startswith(FLAG)]
    return tuple(dict.fromkeys(f"{label}: {note}" for label, note in flags))
