"""The failures that make no noise: what is looked for, and when it is an alarm.

An alarm is written into the log and said once; it stops nothing. The thresholds are chosen here,
wide enough that a healthy training of the toy world or of the recipes gives none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.types import Pair

FLAT_STEPS = 20
FLAT = 1e-5
"""A loss that stays within this share of its first value for `FLAT_STEPS` steps is not moving."""
COLLAPSED = 0.5
"""Entropy below this share of what it was at first."""
TRUNCATED = 0.1
"""Share of responses without an end-of-turn token."""
APART = 0.5
"""Nats between live and stored log-probabilities at the first step, in the mean."""
LOSING = 0.5
"""Share of held-out pairs in which the trained policy has moved towards the chosen response."""


@dataclass
class Watch:
    """Looks at the figures of every step as they come; each alarm is given once."""

    _losses: list[float] = field(default_factory=list)
    _entropy: float | None = None
    _given: set[str] = field(default_factory=set)

    def see(self, row: Mapping[str, Any]) -> list[str]:
        """Return the alarms that a step's figures give."""
        found = [*self._loss(row), *self._apart(row), *self._collapse(row), *self._held_out(row)]
        new = [alarm for alarm in found if alarm.partition(":")[0] not in self._given]
        self._given |= {alarm.partition(":")[0] for alarm in new}
        return new

    def _loss(self, row: Mapping[str, Any]) -> list[str]:
        self._losses.append(float(row["loss"]))
        if len(self._losses) != FLAT_STEPS:
            return []
        first = self._losses[0]
        if max(abs(loss - first) for loss in self._losses) > FLAT * abs(first):
            return []
        return [f"flat loss: it has stayed at {first:.6g} for {FLAT_STEPS} steps"]

    def _apart(self, row: Mapping[str, Any]) -> list[str]:
        drifts = [abs(float(row.get(f"{side}_drift", 0.0))) for side in ("chosen", "rejected")]
        if row["step"] != 1 or max(drifts) <= APART:
            return []
        return [
            f"live apart from stored: {max(drifts):.3g} nats a response at the first step; "
            "other kernels or packs than the anchors' round otherwise"
        ]

    def _collapse(self, row: Mapping[str, Any]) -> list[str]:
        entropy = row.get("entropy")
        if entropy is None:
            return []
        if self._entropy is None:
            self._entropy = float(entropy)
        if float(entropy) >= COLLAPSED * self._entropy:
            return []
        return [f"collapsing entropy: {self._entropy:.3g} nats a token at first, now {entropy:.3g}"]

    def _held_out(self, row: Mapping[str, Any]) -> list[str]:
        share = row.get("held_out_accuracy")
        if share is None or row["step"] == 1 or float(share) >= LOSING:
            return []
        return [
            f"losing on held-out comparisons: it prefers the chosen response to what it was "
            f"before in {100 * float(share):.0f} % of them"
        ]


def of_pairs(pairs: Sequence[Pair], ends: Sequence[int], start: int | None) -> list[str]:
    """Return the alarms that the tokens of pairs give.

    Args:
        pairs: what is trained on.
        ends: the tokens that end a turn.
        start: the beginning-of-text token, if the tokenizer has one.
    """
    found = []
    doubled = sum(pair.prompt_ids[:2] == (start, start) for pair in pairs)
    if start is not None and doubled:
        found.append(f"double beginning of text: in {doubled} of {len(pairs)} prompts")
    last = [r[-1] for pair in pairs for r in (pair.chosen_ids, pair.rejected_ids)]
    open_ended = sum(token not in ends for token in last)
    if open_ended == len(last):
        found.append("missing end of text: no response has an end-of-turn token")
    elif open_ended > TRUNCATED * len(last):
        found.append(f"truncated: {open_ended} of {len(last)} responses have no end-of-turn token")
    return found
