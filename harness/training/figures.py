"""What is logged of every pair besides its loss; log-probabilities and drifts in nats a response.

The two divergences are estimates from the samples that are trained on, which are π_t's, the best
and the worst of K: `kl_previous` of KL(π_t ‖ π) as the mean of log π_t − log π, `kl_reference` of
KL(π ‖ π_ref) as the mean of log π − log π_ref, without weights for π's having moved since.
"""

from __future__ import annotations

from torch import Tensor

from harness.protocols import Objective, PairBatch


def figures(batch: PairBatch, objective: Objective) -> dict[str, Tensor]:
    """Return figures by name, one number a pair."""
    live, previous = batch.policy, batch.anchors["previous"]
    chosen, rejected = live.chosen - previous.chosen, live.rejected - previous.rejected
    margin = objective.margin(batch)
    told = {
        "margin": margin,
        "accuracy": (chosen > rejected).float(),
        "chosen_logp": live.chosen,
        "rejected_logp": live.rejected,
        "chosen_drift": chosen,
        "rejected_drift": rejected,
        "kl_previous": -(chosen + rejected) / 2,
        "chosen_tokens": batch.lengths.chosen.float(),
        "rejected_tokens": batch.lengths.rejected.float(),
    }
    target = getattr(objective, "target", None)
    if target is not None:
        told["margin_from_target"] = (margin - target).abs()
    if "reference" in batch.anchors:
        reference = batch.anchors["reference"]
        moved = live.chosen - reference.chosen + live.rejected - reference.rejected
        told["kl_reference"] = moved / 2
    return told
