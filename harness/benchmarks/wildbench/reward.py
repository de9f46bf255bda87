"""WB-Reward: comparisons with a reference, over all conversations and by task group.

A strong win is 1, a slight one ½, a tie 0, losses the same below 0; percent on the leaderboard.
With a length margin K, a slight win of the side that is longer by more than K characters is a tie.
Comparisons in which an answer is empty or cut count in the denominator of `wb_reward` only, as
upstream. What differs: intervals, by conversation; of several comparisons the last counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from harness.benchmarks.wildbench import data
from harness.benchmarks.wildbench.files import preference
from harness.benchmarks.wildbench.score import Groups, group_metric, macro_contributions
from harness.core.config import Component
from harness.errors import CheckError
from harness.statistics.bootstrap import interval, small_sample_note
from harness.types import Estimate, Graded, Score, Verdict

NO_MARGIN = -1
PERCENT = 100
OUTCOMES = {"win_much": 1.0, "win": 0.5, "tie": 0.0, "lose": -0.5, "lose_much": -1.0}
"""The reward of each outcome, by upstream's names."""


class WildBenchRewardScoring(Component):
    """How the reward is computed from the preferences."""

    length_margin: int = Field(500, ge=NO_MARGIN)
    """K, in characters; -1: no margin. The leaderboard has -1, 500, 1000 and 1500."""
    seed: int = 0
    rounds: int = Field(default=2000, ge=2)


@dataclass(frozen=True, slots=True)
class ReferenceComparison:
    """A comparison of a contestant's answer with the reference's."""

    preference: float
    """For the contestant: 1, 0.75, 0.5, 0.25 or 0."""
    own: str
    reference: str

    @property
    def is_counted(self) -> bool:
        """Whether neither answer is empty or cut."""
        return all(data.is_counted(text.strip()) for text in (self.own, self.reference))

    def outcome(self, margin: int) -> str:
        """Return the outcome by upstream's name."""
        longer = len(self.own) - len(self.reference)
        if self.preference == 0.75:
            return "tie" if margin >= 0 and longer > margin else "win"
        if self.preference == 0.25:
            return "tie" if margin >= 0 and -longer > margin else "lose"
        return {1.0: "win_much", 0.0: "lose_much"}.get(self.preference, "tie")


def score_comparisons(
    graded: Graded, groups: Groups, scoring: WildBenchRewardScoring, max_words: int
) -> Score:
    """Return WB-Reward of a contestant against one reference.

    Raises:
        CheckError: no comparison could be parsed, or the answers are not in the file.
    """
    last = {conversation_id(verdict): verdict for verdict in graded.verdicts}
    comparisons = _comparisons(graded, last, max_words)
    if not comparisons:
        raise CheckError(f"no choice on {graded.label} could be parsed: there is no score")
    figures = upstream_figures(comparisons, groups, scoring.length_margin)
    counts = {
        "asked": len(last),
        "judged": len(comparisons),
        "unparsed": len(last) - len(comparisons),
        "repeats": len(graded.verdicts) - len(last),
        "empty_or_cut": sum(not comparison.is_counted for comparison in comparisons.values()),
        **{name: figures[name] for name in OUTCOMES},
    }
    items = _items(comparisons, groups, scoring.length_margin)
    return Score(
        estimates=_estimates(items, figures, scoring),
        counts=counts,
        items=tuple(items),
        notes=(*graded.notes, *_notes(counts, figures, scoring)),
        details={"upstream": figures},
    )


def upstream_figures(
    comparisons: Mapping[str, ReferenceComparison], groups: Groups, margin: int
) -> dict[str, Any]:
    """Return the row that upstream's table has."""
    outcomes = {k: c.outcome(margin) for k, c in comparisons.items() if c.is_counted}
    totals = dict.fromkeys(OUTCOMES, 0)
    by_group: dict[str, dict[str, int]] = {}
    for key, outcome in outcomes.items():
        totals[outcome] += 1
        for group in groups.get(key, ()):
            by_group.setdefault(group, dict.fromkeys(OUTCOMES, 0))[outcome] += 1
    figures: dict[str, Any] = {**totals, "total": len(comparisons)}
    if outcomes:
        figures["avg_len"] = sum(len(comparisons[key].own) for key in outcomes) / len(outcomes)
    if by_group:
        rewards = {g: reward(row, sum(row.values())) for g, row in by_group.items()}
        figures["task_categorized_results"] = by_group
        figures["task_categorized_rewards"] = rewards
        figures["task_macro_reward"] = data.macro(rewards)
    return figures | {"reward": reward(totals, len(comparisons)), "K": margin}


def reward(outcomes: Mapping[str, int], total: int) -> float:
    """Return the mean reward of counted outcomes over `total` comparisons."""
    points = outcomes["win"] * 0.5 + outcomes["win_much"] - outcomes["lose"] * 0.5
    return (points - outcomes["lose_much"]) / total


def mixture(rewards: Mapping[str, float], references: Sequence[str]) -> float:
    """Return the mean reward over the references.

    Raises:
        CheckError: a reference is missing; upstream counts 0 for it.
    """
    missing = [name for name in references if name not in rewards]
    if missing:
        raise CheckError(
            f"there is no reward against {', '.join(missing)}: compare with all of "
            f"{', '.join(references)} first"
        )
    return sum(rewards[name] for name in references) / len(references)


def conversation_id(verdict: Verdict) -> str:
    """Return the conversation of a verdict."""
    return verdict.request_id.partition("#")[0]


def _comparisons(
    graded: Graded, last: Mapping[str, Verdict], max_words: int
) -> dict[str, ReferenceComparison]:
    own, reference = (
        {answer.prompt_id: shown_answer(answer.text, max_words) for answer in side}
        for side in (graded.answers, graded.baseline)
    )
    comparisons = {}
    for key, verdict in last.items():
        if verdict.parsed is None:
            continue
        if key not in own or key not in reference:
            raise CheckError(
                f"{graded.label}: the answers to {key} are not in the file, and WB-Reward depends "
                "on their lengths"
            )
        comparisons[key] = ReferenceComparison(preference(verdict), own[key], reference[key])
    return comparisons


def shown_answer(text: str, max_words: int) -> str:
    """Return an answer as the judge sees it."""
    return data.cut(text, max_words) if text.strip() else data.EMPTY_MARK


def _items(
    comparisons: Mapping[str, ReferenceComparison], groups: Groups, margin: int
) -> list[dict[str, Any]]:
    counted = frozenset(key for key, comparison in comparisons.items() if comparison.is_counted)
    points = {
        name: {
            key: PERCENT * OUTCOMES[c.outcome(k)] if key in counted else 0.0
            for key, c in comparisons.items()
        }
        for name, k in {"wb_reward": margin, "wb_reward_without_margin": NO_MARGIN}.items()
    }
    macro = macro_contributions(points["wb_reward"], groups, counted) if groups else {}
    return [
        {
            "prompt_id": key,
            "outcome": comparison.outcome(margin) if key in counted else None,
            **{name: values[key] for name, values in points.items()},
            "length": len(comparison.own),
            "reference_length": len(comparison.reference),
            **({"task_macro": macro[key]} if macro else {}),
            **{
                group_metric(group): points["wb_reward"][key]
                for group in (groups.get(key, ()) if key in counted else ())
            },
        }
        for key, comparison in comparisons.items()
    ]


def _estimates(
    items: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any],
    scoring: WildBenchRewardScoring,
) -> dict[str, Estimate]:
    names = ["wb_reward", "wb_reward_without_margin", "task_macro"]
    names += map(group_metric, data.WEIGHTS)
    values = {name: [item[name] for item in items if name in item] for name in names}
    estimates = {
        name: interval(points, seed=scoring.seed, rounds=scoring.rounds)
        for name, points in values.items()
        if points
    }
    exact = {"wb_reward": PERCENT * figures["reward"]}
    if "task_macro_reward" in figures:
        exact["task_macro"] = PERCENT * figures["task_macro_reward"]
    return estimates | {k: replace(estimates[k], value=v) for k, v in exact.items()}


def _notes(
    counts: Mapping[str, int], figures: Mapping[str, Any], scoring: WildBenchRewardScoring
) -> list[str]:
    margin = scoring.length_margin
    notes = {
        f"length margin {margin} characters: a slight win by a longer answer is a tie": margin >= 0,
        f"{counts['unparsed']} of {counts['asked']} choices could not be parsed and are excluded": (
            counts["unparsed"]
        ),
        f"{counts['repeats']} comparisons are repeated: the last of each conversation counts": (
            counts["repeats"]
        ),
        f"in {counts['empty_or_cut']} comparisons an answer is empty or cut: they count as ties in "
        "wb_reward, and not in groups": counts["empty_or_cut"],
        "no task groups: the conversations' tags are not in the protocol data (`harness assets "
        "pull wildbench`)": "task_macro_reward" not in figures,
    }
    applicable = [note for note, applies in notes.items() if applies]
    return [*applicable, *small_sample_note(counts["judged"], "conversations")]
