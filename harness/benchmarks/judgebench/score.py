"""JudgeBench's accuracy, with intervals by pair, and what the two orders say about the judge.

A pair is shown in both orders. A game earns 1 for the labelled response, -1 for the other, 0 for a
tie or no verdict; the pair is right if the sum is above 0. `accuracy` is over all pairs, as
upstream; `macro_accuracy` over the four categories, which other papers print: they do not compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import CheckError, InputError
from harness.statistics.bootstrap import interval, small_sample_note
from harness.types import Estimate, Score

PERCENT, SEED = 100, 0
CATEGORIES = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}
"""The category by the beginning of a pair's source."""
Decision = Literal["A", "B", "tie"] | None
"""Which response of the pair is preferred, whatever the order; None: no verdict."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """The decisions on one pair: A shown first, B shown first."""

    pair_id: str
    source: str
    label: Literal["A", "B"]
    """The better response."""
    decisions: tuple[Decision, Decision]

    @property
    def points(self) -> tuple[int, int]:
        """The points of both games."""
        first, second = (
            0 if decision in (None, "tie") else 1 if decision == self.label else -1
            for decision in self.decisions
        )
        return first, second

    @property
    def is_right(self) -> bool:
        """Whether the pair counts as right."""
        return sum(self.points) > 0


def category(source: str) -> str:
    """Return the category of a pair's source.

    Raises:
        InputError: JudgeBench has no such source.
    """
    for prefix, name in CATEGORIES.items():
        if source.startswith(prefix):
            return name
    raise InputError(f"JudgeBench has no pairs of {source!r}; it has {', '.join(CATEGORIES)}")


def score_judgments(judgments: Sequence[Judgment], notes: Sequence[str] = ()) -> Score:
    """Return accuracies, by category too, consistency and the preference for the first slot.

    Raises:
        CheckError: there is no judgment, or none has a verdict.
        InputError: a source is none of JudgeBench's.
    """
    if not any(decision for judgment in judgments for decision in judgment.decisions):
        raise CheckError("no verdict on a pair could be parsed: there is no score")
    items = [_item(judgment) for judgment in judgments]
    decisions = [decision for judgment in judgments for decision in judgment.decisions]
    counts = {
        "asked": len(items),
        "judged": sum(any(judgment.decisions) for judgment in judgments),
        "right": sum(judgment.is_right for judgment in judgments),
        "ties": decisions.count("tie"),
        "unparsed": decisions.count(None),
    }
    missing = counts["unparsed"]
    unparsed = (f"{missing} of {len(decisions)} games have no verdict and earn nothing",)
    return Score(
        estimates=_estimates(items),
        counts=counts,
        items=tuple(items),
        notes=(
            *notes,
            *(unparsed if missing else ()),
            *small_sample_note(len(items), "pairs"),
        ),
    )


def _item(judgment: Judgment) -> dict[str, Any]:
    first, second = judgment.points
    slots = [
        PERCENT * float(decision == slot)
        for decision, slot in zip(judgment.decisions, "AB", strict=True)
        if decision in ("A", "B")
    ]
    agree = judgment.decisions[0] == judgment.decisions[1] and judgment.decisions[0] is not None
    return {
        "prompt_id": judgment.pair_id,
        "category": category(judgment.source),
        "accuracy": PERCENT * float(judgment.is_right),
        "first_game_accuracy": PERCENT * float(first > 0),
        "second_game_accuracy": PERCENT * float(second > 0),
        "same_in_both_orders": PERCENT * float(agree),
        "prefers_first_slot": sum(slots) / len(slots) if slots else None,
    }


def _estimates(items: Sequence[Mapping[str, Any]]) -> dict[str, Estimate]:
    by_category = {
        name: [item["accuracy"] for item in items if item["category"] == name]
        for name in CATEGORIES.values()
    }
    present = {name: values for name, values in by_category.items() if values}
    names = ("first_game_accuracy", "second_game_accuracy", "same_in_both_orders")
    columns = {name: [item[name] for item in items] for name in names}
    slots = [i["prefers_first_slot"] for i in items if i["prefers_first_slot"] is not None]
    estimates = {"accuracy": interval([item["accuracy"] for item in items], seed=SEED)}
    estimates |= {name: interval(values, seed=SEED) for name, values in present.items()}
    estimates["macro_accuracy"] = _macro(items, present)
    estimates |= {name: interval(values, seed=SEED) for name, values in columns.items()}
    return estimates | ({"prefers_first_slot": interval(slots, seed=SEED)} if slots else {})


def _macro(
    items: Sequence[Mapping[str, Any]], by_category: Mapping[str, Sequence[float]]
) -> Estimate:
    """Return the mean over categories, its interval by each pair's contribution to it."""
    means = {name: sum(values) / len(values) for name, values in by_category.items()}
    macro = sum(means.values()) / len(means)
    contributions = []
    for item in items:
        name = item["category"]
        factor = len(items) / len(means) / len(by_category[name])
        contributions.append(macro + factor * (item["accuracy"] - means[name]))
    return interval(contributions, seed=SEED)
