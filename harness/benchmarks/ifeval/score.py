"""Scores of instruction following: the share of prompts, and of constraints, that are kept.

On the prompt level an answer counts if it keeps every constraint of its prompt; on the instruction
level every constraint counts once, over all prompts. Intervals resample prompts, with all of their
constraints. A constraint that cannot be checked counts as not kept, and a note gives the figure it
would be if all such constraints were kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from harness.benchmarks.ifeval.constraints import ConstrainedPrompt, Outcome
from harness.core.config import Component
from harness.errors import CheckError
from harness.statistics.bootstrap import interval, ratio_interval, small_sample_note
from harness.statistics.contributions import ratio_contributions
from harness.types import Estimate, Score

PERCENT = 100
RULES: tuple[Literal["strict", "loose"], ...] = ("strict", "loose")
Outcomes = Mapping[str, Outcome]
"""By the question's id."""


class InstructionScoring(Component):
    """How the scores are computed from the outcomes."""

    missing: Literal["failed", "dropped"] = "failed"
    """A prompt that a file does not answer keeps nothing (as IFBench counts since May 2026), or is
    left out."""
    seed: int = 0
    """The seed of the bootstrap."""
    rounds: int = Field(default=2000, ge=2)
    """Resamples per interval."""


def score_outcomes(
    questions: Sequence[ConstrainedPrompt],
    outcomes: Outcomes,
    scoring: InstructionScoring,
    notes: Sequence[str] = (),
) -> Score:
    """Return the four figures, and the mean of both levels for each rule, in percent.

    Raises:
        CheckError: no question has an outcome.
    """
    asked = [q for q in questions if q.id in outcomes]
    if not asked:
        raise CheckError("no answer belongs to a prompt of the benchmark: there is no score")
    ordered = [outcomes[q.id] for q in asked]
    counts = {
        "asked": len(asked),
        "judged": sum(outcome.answered for outcome in ordered),
        "instructions": sum(len(outcome.strict) for outcome in ordered),
        "unanswered": sum(not outcome.answered for outcome in ordered),
        "unchecked": sum(len(outcome.unchecked) for outcome in ordered),
    }
    return Score(
        estimates=_estimates(ordered, scoring),
        counts=counts,
        items=tuple(_items(asked, ordered)),
        notes=(*notes, *_notes(ordered, counts)),
        details={"by_kind": _by_kind(asked, ordered)},
    )


def _estimates(outcomes: Sequence[Outcome], scoring: InstructionScoring) -> dict[str, Estimate]:
    seed, rounds = scoring.seed, scoring.rounds
    estimates = {}
    for rule in RULES:
        prompts, instructions = _prompt_level(outcomes, rule), _instruction_level(outcomes, rule)
        followed = [PERCENT * sum(getattr(outcome, rule)) for outcome in outcomes]
        sizes = [len(outcome.strict) for outcome in outcomes]
        means = [(p + i) / 2 for p, i in zip(prompts, instructions, strict=True)]
        estimates[f"prompt_level_{rule}"] = interval(prompts, seed=seed, rounds=rounds)
        estimates[f"instruction_level_{rule}"] = ratio_interval(
            followed, sizes, seed=seed, rounds=rounds
        )
        estimates[f"mean_level_{rule}"] = interval(means, seed=seed, rounds=rounds)
    return estimates


def _prompt_level(outcomes: Sequence[Outcome], rule: str) -> list[float]:
    return [PERCENT * float(all(getattr(outcome, rule))) for outcome in outcomes]


def _instruction_level(outcomes: Sequence[Outcome], rule: str) -> list[float]:
    """Return each prompt's contribution to the share of constraints that are kept."""
    followed = [PERCENT * sum(getattr(outcome, rule)) for outcome in outcomes]
    return ratio_contributions(followed, [len(outcome.strict) for outcome in outcomes])


def _items(
    questions: Sequence[ConstrainedPrompt], outcomes: Sequence[Outcome]
) -> list[dict[str, Any]]:
    columns: dict[str, list[float]] = {}
    for rule in RULES:
        prompts, instructions = _prompt_level(outcomes, rule), _instruction_level(outcomes, rule)
        columns[f"prompt_level_{rule}"], columns[f"instruction_level_{rule}"] = (
            prompts,
            instructions,
        )
        means = [(p + i) / 2 for p, i in zip(prompts, instructions, strict=True)]
        columns[f"mean_level_{rule}"] = means
    return [
        {
            "prompt_id": question.id,
            "kinds": [constraint.kind for constraint in question.constraints],
            "kept_strict": list(outcome.strict),
            "kept_loose": list(outcome.loose),
            **{name: values[i] for name, values in columns.items()},
        }
        for i, (question, outcome) in enumerate(zip(questions, outcomes, strict=True))
    ]


def _by_kind(
    questions: Sequence[ConstrainedPrompt], outcomes: Sequence[Outcome]
) -> dict[str, dict[str, float]]:
    """Return how many constraints of each kind there are, and the percentage that is kept."""
    rows: dict[str, list[tuple[bool, bool]]] = {}
    for question, outcome in zip(questions, outcomes, strict=True):
        verdicts = zip(question.constraints, outcome.strict, outcome.loose, strict=True)
        for constraint, strict, loose in verdicts:
            rows.setdefault(constraint.kind, []).append((strict, loose))
    return {
        kind: {
            "instructions": len(pairs),
            "strict": PERCENT * sum(strict for strict, _ in pairs) / len(pairs),
            "loose": PERCENT * sum(loose for _, loose in pairs) / len(pairs),
        }
        for kind, pairs in sorted(rows.items())
    }


def _notes(outcomes: Sequence[Outcome], counts: Mapping[str, int]) -> list[str]:
    notes = []
    if counts["unanswered"]:
        notes.append(f"{counts['unanswered']} prompts have no answer and count as failed")
    if counts["unchecked"]:
        kinds = Counter(kind for outcome in outcomes for kind in outcome.unchecked)
        summary = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
        most = PERCENT * sum(map(_could_be_kept, outcomes)) / len(outcomes)
        notes.append(
            f"{counts['unchecked']} of {counts['instructions']} constraints cannot be checked here "
            f"and count as not kept ({summary}); were they all kept, prompt_level_loose would be "
            f"{most:.2f}"
        )
    return [*notes, *small_sample_note(counts["asked"], "prompts")]


def _could_be_kept(outcome: Outcome) -> bool:
    """Return whether an answer keeps every constraint that can be checked."""
    return outcome.answered and outcome.loose.count(False) == len(outcome.unchecked)
