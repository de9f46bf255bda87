"""The order of the steps, and what is held out, as the seed decides."""

from __future__ import annotations

from harness.training import trainer


def test_an_epoch_visits_every_item_once_and_differently_each_time():
    first, second = (list(trainer.shuffle_epoch(10, 4, seed=3, epoch=e)) for e in (0, 1))
    assert [len(step) for step in first] == [4, 4, 2]
    assert sorted(i for step in first for i in step) == list(range(10))
    assert first != second
    assert first == list(trainer.shuffle_epoch(10, 4, seed=3, epoch=0))
    assert trainer.batch_order(10, 4, seed=3, epochs=2) == first + second


def test_held_out_items_are_a_share_that_the_seed_decides():
    training, held_out = trainer.split_held_out(10, 0.3, seed=1)
    assert (len(training), len(held_out)) == (7, 3)
    assert sorted(training + held_out) == list(range(10))
    assert (
        (training, held_out)
        == trainer.split_held_out(10, 0.3, seed=1)
        != trainer.split_held_out(10, 0.3, seed=2)
    )
    assert trainer.split_held_out(4, 0.0, seed=1) == ([0, 1, 2, 3], [])
