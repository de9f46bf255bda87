"""Student's t against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from harness.statistics.intervals import t_two_sided


@pytest.mark.parametrize("freedom", [1, 2, 3, 10, 79, 499, 804, 100_000])
def test_the_tails_are_scipys(freedom):
    t = np.concatenate([[0.0, 1e-12, 1e-3], np.linspace(0.1, 30, 400)])
    found = t_two_sided(-t, np.full(len(t), float(freedom)))
    assert found == pytest.approx(2 * student.sf(t, freedom), rel=1e-8, abs=1e-250)


def test_an_infinite_t_is_certain():
    assert t_two_sided(np.array([np.inf]), np.array([5.0])) == [0.0]
