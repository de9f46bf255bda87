"""MT-Bench's figures: mean ratings of 1 to 10, pooled, by turn and by category.

The mean is over all ratings that could be read, of both turns together, as published. What differs
from FastChat at 587d5cf: where a file rates an answer more than once, the last rating counts, and a
rating outside 1 to 10 is left out (`compat: upstream` averages all of them); intervals keep a
question's two turns together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.benchmarks import mt_bench_data as data
from harness.config import Component
from harness.errors import CheckError
from harness.statistics.bootstrap import interval
from harness.types import Estimate, Graded, Score, Verdict

LOWEST, HIGHEST = 1, 10
FEW = 50
Item = Mapping[str, Any]


class Scoring(Component):
    """How the figures are made of the verdicts."""

    compat: Literal["upstream"] | None = None
    """`upstream`: every rating of a file counts, repeats and those outside 1 to 10 too."""
    seed: int = 0
    """Of the bootstrap."""
    rounds: int = Field(default=2000, ge=2)
    """Resamples of the intervals."""


@dataclass(frozen=True)
class _Counted:
    """The verdicts that count, and how many do not."""

    verdicts: tuple[Verdict, ...]
    repeats: int
    outside: int


def scored(graded: Graded, scoring: Scoring) -> Score:
    """Return the mean ratings of a contestant.

    Raises:
        CheckError: no rating could be read.
    """
    counted = _counted(graded, scoring)
    items = _items(graded, counted.verdicts, every=scoring.compat == "upstream")
    rated = [item for item in items if item["rating"] is not None]
    if not rated:
        raise CheckError(f"no rating of {graded.label} could be read: there is no figure")
    counts = _counts(items, rated, counted)
    notes = (*graded.notes, *_notes(graded, counts, items))
    details = {"compat": scoring.compat} if scoring.compat else {}
    return Score(_estimates(rated, scoring), counts, tuple(items), notes, details)


def valid(rating: float) -> bool:
    """Say whether a rating is one that the judge may give."""
    return LOWEST <= rating <= HIGHEST


def _counted(graded: Graded, scoring: Scoring) -> _Counted:
    """Return the verdicts that count, by question: no figure depends on the order of a file."""
    last = {verdict.request_id: verdict for verdict in graded.verdicts}
    every = scoring.compat == "upstream"
    kept = graded.verdicts if every else tuple(last.values())
    kept = tuple(sorted(kept, key=lambda verdict: data.place(verdict.request_id)))
    if every:
        return _Counted(kept, 0, 0)
    outside = sum(v.reading is not None and not valid(v.reading.value) for v in kept)
    return _Counted(kept, len(graded.verdicts) - len(kept), outside)


def _items(graded: Graded, verdicts: Sequence[Verdict], *, every: bool) -> list[dict[str, Any]]:
    """Return one row a verdict; its rating is None where it is left out."""
    lengths = {answer.prompt_id: len(answer.text) for answer in graded.answers}
    found = []
    for verdict in verdicts:
        number, turn = data.place(verdict.request_id)
        rating = verdict.reading.value if verdict.reading else None
        if rating is not None and not every and not valid(rating):
            rating = None
        row = {"prompt_id": verdict.request_id, "question": number, "turn": turn}
        row |= {"category": data.category_of(number), "rating": rating}
        found.append({**row, "length": lengths.get(verdict.request_id)})
    return found


def _estimates(rated: Sequence[Item], scoring: Scoring) -> dict[str, Estimate]:
    groups = {"score": rated}
    groups |= {f"turn_{t}": [i for i in rated if i["turn"] == t] for t in (1, 2)}
    groups |= {c: [i for i in rated if i["category"] == c] for c in data.CATEGORIES}
    return {name: _mean(items, scoring) for name, items in groups.items() if items}


def _mean(items: Sequence[Item], scoring: Scoring) -> Estimate:
    return interval(
        [item["rating"] for item in items],
        seed=scoring.seed,
        rounds=scoring.rounds,
        clusters=[item["question"] for item in items],
    )


def _counts(items: Sequence[Item], rated: Sequence[Item], counted: _Counted) -> dict[str, int]:
    """Count what was asked, judged and left out, and the questions with a rating."""
    return {
        "asked": len(items),
        "judged": len(rated),
        "unread": len(items) - len(rated),
        "outside": counted.outside,
        "repeats": counted.repeats,
        "questions": len({item["question"] for item in rated}),
    }


def _notes(graded: Graded, counts: Mapping[str, int], items: Sequence[Item]) -> list[str]:
    """Say what is left out, and what makes the figures say less than they seem to."""
    unread, asked, repeats = counts["unread"], counts["asked"], counts["repeats"]
    outside = f" ({counts['outside']} of them outside {LOWEST} to {HIGHEST})"
    left = outside if counts["outside"] else ""
    judged = {item["prompt_id"] for item in items}
    unjudged = {a.prompt_id for a in graded.answers} - judged
    absent = len(unjudged) if graded.answers else data.ANSWERS - len(judged)
    ratings = [item["rating"] for item in items if item["rating"] is not None]
    told = {
        f"{absent} answers were not judged": absent,
        f"{unread} of {asked} ratings could not be read and are left out{left}": unread,
        f"{repeats} ratings were given again later: the last of each answer counts": repeats,
        "all ratings are equal: the intervals say nothing": len(set(ratings)) == 1,
        f"only {len(ratings)} verdicts: an interval of so few says little": len(ratings) < FEW,
    }
    return [note for note, holds in told.items() if holds]
