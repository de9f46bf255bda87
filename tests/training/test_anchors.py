"""Pairs that a model cannot read are refused before anything is computed."""

from __future__ import annotations

import pytest

from harness.errors import CheckError
from harness.training.reference_logps import check_context
from harness.training.rollout import exclusion_reason
from harness.types import Pair


def pair(prompt: int, chosen: int, rejected: int) -> Pair:
    """A pair of so many tokens."""
    return Pair("p", (1,) * prompt, (2,) * chosen, (3,) * rejected, 0.9)


def test_a_pair_longer_than_the_context_is_refused_with_the_remedy():
    check_context([pair(4, 5, 6)], 10)  # 4 + 6 fits just so
    with pytest.raises(
        CheckError, match=r"'p' has 11 tokens, the model.s context is 10: .*max_length=10"
    ):
        check_context([pair(4, 5, 6), pair(4, 7, 1)], 10)
    check_context([pair(4, 7, 1)], None)


def test_pairs_that_cannot_be_trained_on_are_left_out_and_counted_by_reason():
    assert exclusion_reason(pair(4, 5, 6), 10) is None
    assert exclusion_reason(pair(4, 7, 1), 10) == "too long"
    assert (
        exclusion_reason(pair(4, 0, 6), 10)
        == exclusion_reason(pair(0, 5, 6), 10)
        == "without tokens"
    )
    assert exclusion_reason(Pair("p", (1,), (2,), (2,), 0.9), 10) == "identical"
