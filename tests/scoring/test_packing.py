"""How rows are laid out, and which share a pack."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.scoring import packing
from harness.training.distributed import World
from harness.training.trainer import BatchPlan

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The time that a busy machine takes says nothing about packing."""
SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=40)


def test_a_pair_is_prompt_chosen_rejected_and_positions_restart():
    packed = packing.pack([((7, 8), ((1, 2, 3), (4,))), ((9,), ((5, 6),))])
    assert packed.token_ids.tolist() == [[7, 8, 1, 2, 3, 4, 9, 5, 6]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 2, 0, 1, 2]]
    # the prompt's last token (1) predicts the first of both responses
    assert packed.predictors.tolist() == [1, 2, 3, 1, 6, 7]
    assert packed.targets.tolist() == [1, 2, 3, 4, 5, 6]
    assert packed.sequence_ids.tolist() == [0, 0, 0, 1, 2, 2]
    assert packed.ends.tolist() == [4, 5, 8]


def test_first_fit_decreasing():
    # of 10: 7 + 3, 6 + 4, 5; the 12 is too long and has a pack of its own
    assert packing.first_fit_decreasing([3, 12, 6, 7, 4, 5], 10) == [[1], [3, 0], [2, 4], [5]]


@unhurried
@given(SIZES, st.integers(1, 120))
def test_every_item_is_in_one_pack_within_the_budget(sizes, budget):
    packs = packing.first_fit_decreasing(sizes, budget)
    assert sorted(i for pack in packs for i in pack) == list(range(len(sizes)))
    for pack in packs:
        assert sum(sizes[i] for i in pack) <= budget or len(pack) == 1


@unhurried
@given(SIZES, st.integers(1, 4))
def test_processes_share_the_packs_and_take_as_many_each(sizes, world):
    plan = BatchPlan([list(range(len(sizes)))], sizes)
    shares = [plan.packs(0, 60, World(rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(i for s in shares for pack in s for i in pack) == list(range(len(sizes)))
