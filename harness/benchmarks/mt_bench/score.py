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

from harness.benchmarks.mt_bench import data as data
from harness.core.config import Component
from harness.errors import CheckError
from harness.statistics.bootstrap import interval
from harness.types import Estimate, Graded, Score, Verdict

LOWEST, HIGHEST = 1, 10
SMALL_SAMPLE = 50
ItemRow = Mapping[str, Any]


class MTBenchScoring(Component):
    """How the figures are made of the verdicts."""

    compat: Literal["upstream"] | None = None
    """`upstream`: every rating of a file counts, repeats and those outside 1 to 10 too."""
    seed: int = 0
    """Of the bootstrap."""
    rounds: int = Field(default=2000, ge=2)
    """Resamples of the intervals."""


@dataclass(frozen=True)
class _Selection:
    """The verdicts that count, and how many do not."""

    verdicts: tuple[Verdict, ...]
    repeats: int
    outside: int


def score_contestant(graded: Graded, scoring: MTBenchScoring) -> Score:
    """Return the mean ratings of a contestant.

    Raises:
        CheckError: no rating could be read.
    """
    selection = _select_verdicts(graded, scoring)
    items = _items(graded, selection.verdicts, count_all=scoring.compat == "upstream")
    rated_items = [item for item in items if item["rating"] is not None]
    if not rated_items:
        raise CheckError(f"no rating of {graded.label} could be read: there is no figure")
    counts = _counts(items, rated_items, selection)
    notes = (*graded.notes, *_notes(graded, counts, items))
    details = {"compat": scoring.compat} if scoring.compat else {}
    return Score(_estimates(rated_items, scoring), counts, tuple(items), notes, details)


def is_valid_rating(rating: float) -> bool:
    """Say whether a rating is one that the judge may give."""
    return LOWEST <= rating <= HIGHEST


def _select_verdicts(graded: Graded, scoring: MTBenchScoring) -> _Selection:
    """Return the verdicts that count, by question: no figure depends on the order of a file."""
    last = {verdict.request_id: verdict for verdict in graded.verdicts}
    count_all = scoring.compat == "upstream"
    selected = graded.verdicts if count_all else tuple(last.values())
    selected = tuple(sorted(selected, key=lambda verdict: data.parse_prompt_id(verdict.request_id)))
    if count_all:
        return _Selection(selected, 0, 0)
    outside = sum(v.parsed is not None and not is_valid_rating(v.parsed.value) for v in selected)
    return _Selection(selected, len(graded.verdicts) - len(selected), outside)


def _items(graded: Graded, verdicts: Sequence[Verdict], *, count_all: bool) -> list[dict[str, Any]]:
    """Return one row a verdict; its rating is None where it is left out."""
    lengths = {answer.prompt_id: len(answer.text) for answer in graded.answers}
    rows = []
    for verdict in verdicts:
        number, turn = data.parse_prompt_id(verdict.request_id)
        rating = verdict.parsed.value if verdict.parsed else None
        if rating is not None and not count_all and not is_valid_rating(rating):
            rating = None
        row = {"prompt_id": verdict.request_id, "question": number, "turn": turn}
        row |= {"category": data.category_of(number), "rating": rating}
        rows.append({**row, "length": lengths.get(verdict.request_id)})
    return rows


def _estimates(rated_items: Sequence[ItemRow], scoring: MTBenchScoring) -> dict[str, Estimate]:
    groups = {"score": rated_items}
    groups |= {f"turn_{t}": [i for i in rated_items if i["turn"] == t] for t in (1, 2)}
    groups |= {c: [i for i in rated_items if i["category"] == c] for c in data.CATEGORIES}
    return {name: _mean(items, scoring) for name, items in groups.items() if items}


def _mean(items: Sequence[ItemRow], scoring: MTBenchScoring) -> Estimate:
    return interval(
        [item["rating"] for item in items],
        seed=scoring.seed,
        rounds=scoring.rounds,
        clusters=[item["question"] for item in items],
    )


def _counts(
    items: Sequence[ItemRow], rated_items: Sequence[ItemRow], selection: _Selection
) -> dict[str, int]:
    """Count what was asked, judged and left out, and the questions with a rating."""
    return {
        "asked": len(items),
        "judged": len(rated_items),
        "unparsed": len(items) - len(rated_items),
        "outside": selection.outside,
        "repeats": selection.repeats,
        "questions": len({item["question"] for item in rated_items}),
    }


def _notes(graded: Graded, counts: Mapping[str, int], items: Sequence[ItemRow]) -> list[str]:
    """Say what is left out, and what makes the figures say less than they seem to."""
    unparsed, asked, repeats = counts["unparsed"], counts["asked"], counts["repeats"]
    outside = f" ({counts['outside']} of them outside {LOWEST} to {HIGHEST})"
    suffix = outside if counts["outside"] else ""
    judged = {item["prompt_id"] for item in items}
    unjudged = {a.prompt_id for a in graded.answers} - judged
    absent = len(unjudged) if graded.answers else data.ANSWER_COUNT - len(judged)
    ratings = [item["rating"] for item in items if item["rating"] is not None]
    notes = {
        f"{absent} answers were not judged": absent,
        f"{unparsed} of {asked} ratings could not be read and are left out{suffix}": unparsed,
        f"{repeats} ratings were given again later: the last of each answer counts": repeats,
        "all ratings are equal: the intervals say nothing": len(set(ratings)) == 1,
        f"only {len(ratings)} verdicts: an interval of so few says little": len(ratings)
        < SMALL_SAMPLE,
    }
    return [note for note, applies in notes.items() if applies]
