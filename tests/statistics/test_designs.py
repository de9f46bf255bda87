"""Sparse designs: how many, balanced, and better for ratings than their size suggests."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.arena import draw, truth
from harness.errors import ConfigError
from harness.statistics.arena import estimate_ratings
from harness.statistics.designs import LEAST, check_comparisons, sparse_design
from harness.statistics.pairwise import PairwisePreferences, resampled_totals


def test_a_design_has_the_number_that_was_asked_for_and_uses_every_prompt_alike():
    design = sparse_design(6, 40, 200, seed=0)
    assert design.sum() == 200
    assert set(design.sum(axis=1)) == {5}
    assert design.sum(axis=0).min() >= LEAST
    by_contestant = np.zeros(6)
    first, second = np.triu_indices(6, 1)
    np.add.at(by_contestant, first, design.sum(axis=0))
    np.add.at(by_contestant, second, design.sum(axis=0))
    assert np.ptp(by_contestant) <= 4


def test_a_second_part_repeats_nothing_and_prefers_even_pairs():
    pilot = sparse_design(4, 60, 60, seed=0)
    ratings = np.array([4.0, 3.9, 0.1, 0.0])
    rest = sparse_design(4, 60, 180, seed=0, ratings=ratings, existing=pilot)
    assert not (pilot & rest).any()
    assert (pilot | rest).sum() == 180
    even, uneven = rest[:, 0], rest[:, 2]  # the first two, and the best with the worst
    assert even.sum() > uneven.sum()


def test_the_seed_decides():
    assert np.array_equal(sparse_design(4, 20, 40, seed=1), sparse_design(4, 20, 40, seed=1))
    assert not np.array_equal(sparse_design(4, 20, 40, seed=1), sparse_design(4, 20, 40, seed=2))


def test_more_than_all_is_all():
    assert sparse_design(3, 4, 100, seed=0).all()


def test_a_number_that_leaves_pairs_out_is_refused_with_the_least():
    with pytest.raises(ConfigError, match="40 comparisons are too few: 6 pairs .* 60 at least"):
        check_comparisons(4, 100, 20)


def test_ratings_lose_less_than_a_quarter_of_independent_comparisons_would():
    arena = draw(truth("transitive", 8), 200, np.random.default_rng(0))
    design = sparse_design(8, 200, arena.values.size // 4, seed=0)
    sparse = PairwisePreferences(arena.names, arena.pairs, np.where(design, arena.values, np.nan))
    widths = []
    for part in (arena, sparse):
        totals = resampled_totals(part, seed=0, rounds=200)
        ratings = estimate_ratings(part, totals, seed=0).bradley_terry
        widths.append(np.mean([r.high - r.low for r in ratings]))
    assert 1 < widths[1] / widths[0] < 1.8  # twice, were comparisons independent
