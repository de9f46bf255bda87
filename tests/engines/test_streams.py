from __future__ import annotations

import numpy as np

from harness.engines.transformers import uniforms


def test_stream_zero_is_splitmix64_from_state_zero() -> None:
    # The published generator's first two outputs from state 0; the upper 53 bits make the number.
    expected = [(word >> 11) / 2**53 for word in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)]
    assert uniforms([0], [0], 2)[0].tolist() == expected


def test_a_row_depends_on_its_own_seed_and_index_only() -> None:
    many = uniforms([5, 6, 5], [0, 0, 1], 9)
    assert np.array_equal(many[2], uniforms([5], [1], 4)[0].tolist() + many[2, 4:].tolist())
    assert len({tuple(row) for row in many}) == 3


def test_numbers_are_uniform_along_rows_steps_and_indices() -> None:
    numbers = uniforms([seed for seed in range(500) for _ in range(8)], [*range(8)] * 500, 24)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # 96000 numbers with standard deviation 1/sqrt(12): the mean's is 0.00093.
    assert abs(numbers.mean() - 0.5) < 4 * 0.00093
    cube = numbers.reshape(500, 8, 24) - 0.5
    for a, b in (
        (cube[1:], cube[:-1]),
        (cube[:, 1:], cube[:, :-1]),
        (cube[..., 1:], cube[..., :-1]),
    ):
        correlation = (a * b).mean() * 12
        assert abs(correlation) < 4 / np.sqrt(a.size)
