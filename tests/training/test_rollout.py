"""Which pairs are dropped, and why."""

from __future__ import annotations

from harness.training.rollout import exclusion_reason
from harness.types import Pair


def pair(prompt: int, chosen: int, rejected: int) -> Pair:
    """A pair with these numbers of tokens."""
    return Pair("p", (1,) * prompt, (2,) * chosen, (3,) * rejected, 0.9)


def test_pairs_that_cannot_be_trained_on_are_left_out_and_counted_by_reason():
    assert exclusion_reason(pair(4, 5, 6), 10) is None
    assert exclusion_reason(pair(4, 7, 1), 10) == "too long"
    assert (
        exclusion_reason(pair(4, 0, 6), 10)
        == exclusion_reason(pair(0, 5, 6), 10)
        == "without tokens"
    )
    assert exclusion_reason(Pair("p", (1,), (2,), (2,), 0.9), 10) == "identical"
