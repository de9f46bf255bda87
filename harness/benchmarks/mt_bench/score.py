"""MT-Bench's scores: mean ratings from 1 to 10, pooled, by turn and by category.

The mean is over all parsed ratings of both turns, as published. What differs from FastChat at
587d5cf: if a file rates an answer more than once, the last rating counts, and ratings outside 1 to
10 are excluded (`compat: upstream` averages all of them); intervals keep a question's two turns
together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from harness.benchmarks.mt_bench import data
from harness.core.config import Component
from harness.errors import CheckError
from harness.statistics.bootstrap import interval, small_sample_note
from harness.types import Estimate, Graded, Score, Verdict

LOWEST, HIGHEST = 1, 10
DISSENT = 0.05
"""The share of ratings that may differ from the most common one where all but few are equal."""
ItemRow = Mapping[str, Any]


class MTBenchScoring(Component):
    """How the scores are computed from the verdicts."""

    compat: Literal["upstream"] | None = None
    """`upstream`: every rating of a file counts, also repeats and ratings outside 1 to 10."""
    seed: int = 0
    """The seed of the bootstrap."""
    rounds: int = Field(default=2000, ge=2)
    """Resamples per interval."""


@dataclass(frozen=True)
class _Selection:
    """The verdicts that count, and the number of repeats and of ratings outside the range."""

    verdicts: tuple[Verdict, ...]
    repeats: int
    outside: int


def score_contestant(graded: Graded, scoring: MTBenchScoring) -> Score:
    """Return the mean ratings of a contestant.

    Raises:
        CheckError: there is no parsed rating.
    """
    selection = _select_verdicts(graded, scoring)
    items = _items(graded, selection.verdicts, count_all=scoring.compat == "upstream")
    rated_items = [item for item in items if item["rating"] is not None]
    if not rated_items:
        raise CheckError(f"no rating of {graded.label} could be parsed: there is no score")
    counts = _counts(items, rated_items, selection)
    notes = (*graded.notes, *_notes(graded, counts, items))
    details = {"compat": scoring.compat} if scoring.compat else {}
    return Score(_estimates(rated_items, scoring), counts, tuple(items), notes, details)


def is_valid_rating(rating: float) -> bool:
    """Say whether a rating is in the judge's range."""
    return LOWEST <= rating <= HIGHEST


def _select_verdicts(graded: Graded, scoring: MTBenchScoring) -> _Selection:
    """Return the verdicts that count in the order of questions, whatever the file's order."""
    last = {verdict.request_id: verdict for verdict in graded.verdicts}
    count_all = scoring.compat == "upstream"
    selected = graded.verdicts if count_all else tuple(last.values())
    selected = tuple(sorted(selected, key=lambda verdict: data.parse_prompt_id(verdict.request_id)))
    if count_all:
        return _Selection(selected, 0, 0)
    outside = sum(v.parsed is not None and not is_valid_rating(v.parsed.value) for v in selected)
    return _Selection(selected, len(graded.verdicts) - len(selected), outside)


def _items(graded: Graded, verdicts: Sequence[Verdict], *, count_all: bool) -> list[dict[str, Any]]:
    """Return one row per verdict; its rating is None if it is excluded."""
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
    ratings = [item["rating"] for item in items]
    return interval(
        ratings,
        seed=scoring.seed,
        rounds=scoring.rounds,
        clusters=[item["question"] for item in items],
        bounds=(LOWEST, HIGHEST) if _is_nearly_unanimous(ratings) else None,
    )


def _is_nearly_unanimous(ratings: Sequence[float]) -> bool:
    """Say whether all ratings are equal, or all but few: resamples then hardly differ."""
    most_common = Counter(ratings).most_common(1)[0][1]
    return len(ratings) - most_common <= max(1, DISSENT * len(ratings))


def _counts(
    items: Sequence[ItemRow], rated_items: Sequence[ItemRow], selection: _Selection
) -> dict[str, int]:
    """Count verdicts (asked, judged, excluded) and questions with a rating."""
    return {
        "asked": len(items),
        "judged": len(rated_items),
        "unparsed": len(items) - len(rated_items),
        "outside": selection.outside,
        "repeats": selection.repeats,
        "questions": len({item["question"] for item in rated_items}),
    }


def _notes(graded: Graded, counts: Mapping[str, int], items: Sequence[ItemRow]) -> list[str]:
    """Return notes on excluded ratings and on equal ones."""
    unparsed, asked, repeats = counts["unparsed"], counts["asked"], counts["repeats"]
    outside = f" ({counts['outside']} of them outside {LOWEST} to {HIGHEST})"
    suffix = outside if counts["outside"] else ""
    judged = {item["prompt_id"] for item in items}
    unjudged = {a.prompt_id for a in graded.answers} - judged
    absent = len(unjudged) if graded.answers else data.ANSWER_COUNT - len(judged)
    ratings = [item["rating"] for item in items if item["rating"] is not None]
    notes = {
        f"{absent} answers were not judged": absent,
        f"{unparsed} of {asked} ratings could not be parsed and are excluded{suffix}": unparsed,
        f"{repeats} ratings are repeated: the last of each answer counts": repeats,
        "all ratings are equal: their intervals are exact ones, for ratings of 1 to 10": len(
            set(ratings)
        )
        == 1,
    }
    applicable = [note for note, applies in notes.items() if applies]
    return [*applicable, *small_sample_note(len(ratings), "verdicts")]
