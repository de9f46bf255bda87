"""Metrics of every pair, and alarms for failures that would otherwise go unnoticed.

Log-probabilities and drifts are in nats a response. A drift is the mean of log π − log π_t
(`previous_drift`) or of log π − log π_ref (`reference_drift`) over the responses that are trained
on, the best and the worst of K samples of π_t. Neither is a KL divergence, and both may have either
sign: KL(π ‖ π_ref) would need samples of π, or weights π / π_t, whose variance has no bound. The
non-negative estimator of KL(π_t ‖ π), the mean of π / π_t − 1 − log π / π_t (k3 in J. Schulman's
"Approximating KL divergence", 2020), fits single tokens, not whole responses, whose
log π − log π_t is tens of nats.

An alarm is logged once and stops nothing. Its thresholds are chosen here, wide enough that a
healthy training of the toy world or of the recipes raises none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from harness.protocols import HasTarget, Objective, PairBatch
from harness.types import Pair

FLAT_STEPS = 20
FLAT_LOSS_TOLERANCE = 1e-5
"""A loss that stays within this share of its first value for `FLAT_STEPS` steps is not moving."""
COLLAPSED_ENTROPY = 0.5
"""Entropy has collapsed below this share of its first value."""
TRUNCATED_SHARE = 0.1
"""Share of responses without an end-of-turn token."""
START_DRIFT = 0.5
"""Mean difference, in nats, between live and stored log-probabilities at the first step."""
LOSING_ACCURACY = 0.5
"""Share of held-out pairs on which the trained policy has moved towards the chosen response."""


def step_metrics(batch: PairBatch, objective: Objective) -> dict[str, Tensor]:
    """Return metrics by name, each of shape (pairs,)."""
    live, previous = batch.policy, batch.anchors["previous"]
    chosen, rejected = live.chosen - previous.chosen, live.rejected - previous.rejected
    margin = objective.margin(batch)
    metrics = {
        "margin": margin,
        "accuracy": (chosen > rejected).float(),
        "chosen_logp": live.chosen,
        "rejected_logp": live.rejected,
        "chosen_drift": chosen,
        "rejected_drift": rejected,
        "previous_drift": (chosen + rejected) / 2,
        "chosen_tokens": batch.lengths.chosen.float(),
        "rejected_tokens": batch.lengths.rejected.float(),
    }
    if isinstance(objective, HasTarget):
        metrics["margin_from_target"] = (margin - objective.target).abs()
    if "reference" in batch.anchors:
        reference = batch.anchors["reference"]
        drift = live.chosen - reference.chosen + live.rejected - reference.rejected
        metrics["reference_drift"] = drift / 2
    return metrics


@dataclass
class AlarmMonitor:
    """Checks the metrics of every step in order; raises each alarm once."""

    _losses: list[float] = field(default_factory=list)
    _entropy: float | None = None
    _raised: set[str] = field(default_factory=set)

    def check(self, row: Mapping[str, Any]) -> list[str]:
        """Return the alarms that a step's metrics raise for the first time."""
        alarms = [
            *self._loss(row),
            *self._start_drift(row),
            *self._collapse(row),
            *self._held_out(row),
        ]
        new = [alarm for alarm in alarms if alarm.partition(":")[0] not in self._raised]
        self._raised |= {alarm.partition(":")[0] for alarm in new}
        return new

    def _loss(self, row: Mapping[str, Any]) -> list[str]:
        self._losses.append(float(row["loss"]))
        if len(self._losses) != FLAT_STEPS:
            return []
        first = self._losses[0]
        if max(abs(loss - first) for loss in self._losses) > FLAT_LOSS_TOLERANCE * abs(first):
            return []
        return [f"flat loss: it has stayed at {first:.6g} for {FLAT_STEPS} steps"]

    def _start_drift(self, row: Mapping[str, Any]) -> list[str]:
        drifts = [abs(float(row.get(f"{side}_drift", 0.0))) for side in ("chosen", "rejected")]
        if row["step"] != 1 or max(drifts) <= START_DRIFT:
            return []
        return [
            f"live apart from stored: {max(drifts):.3g} nats a response at the first step; "
            "kernels or packs differ from the anchors' and round differently"
        ]

    def _collapse(self, row: Mapping[str, Any]) -> list[str]:
        entropy = row.get("entropy")
        if entropy is None:
            return []
        if self._entropy is None:
            self._entropy = float(entropy)
        if float(entropy) >= COLLAPSED_ENTROPY * self._entropy:
            return []
        return [
            f"collapsing entropy: from {self._entropy:.3g} nats a token at first to {entropy:.3g}"
        ]

    def _held_out(self, row: Mapping[str, Any]) -> list[str]:
        share = row.get("held_out_accuracy")
        if share is None or row["step"] == 1 or float(share) >= LOSING_ACCURACY:
            return []
        return [
            "losing on held-out comparisons: the policy has moved towards the chosen response in "
            f"only {100 * float(share):.0f} % of them"
        ]


def pair_alarms(pairs: Sequence[Pair], end_ids: Sequence[int], bos_id: int | None) -> list[str]:
    """Return the alarms that the tokens of the pairs raise before training.

    Args:
        pairs: the pairs to train on.
        end_ids: the tokens that end a turn.
        bos_id: the beginning-of-text token, if the tokenizer has one.
    """
    alarms = []
    doubled_bos = sum(pair.prompt_ids[:2] == (bos_id, bos_id) for pair in pairs)
    if bos_id is not None and doubled_bos:
        alarms.append(f"double beginning of text: in {doubled_bos} of {len(pairs)} prompts")
    last_tokens = [r[-1] for pair in pairs for r in (pair.chosen_ids, pair.rejected_ids)]
    open_ended = sum(token not in end_ids for token in last_tokens)
    if open_ended == len(last_tokens):
        alarms.append("missing end of text: no response has an end-of-turn token")
    elif open_ended > TRUNCATED_SHARE * len(last_tokens):
        alarms.append(
            f"truncated: {open_ended} of {len(last_tokens)} responses have no end-of-turn token"
        )
    return alarms
