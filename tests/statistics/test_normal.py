"""The normal distribution against the standard library's."""

from statistics import NormalDist

import pytest

from harness.statistics.intervals import normal_cdf, normal_quantile


@pytest.mark.parametrize("p", [1e-12, 0.0005, 0.025, 0.5, 0.8, 0.975, 1 - 1e-9])
def test_quantiles_are_the_standard_librarys(p):
    assert normal_quantile(p) == pytest.approx(NormalDist().inv_cdf(p), abs=1e-8)
    assert normal_cdf(normal_quantile(p)) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("z", [-38.0, -5.0, 0.0, 1.96, 9.0])
def test_shares_are_the_standard_librarys(z):
    assert normal_cdf(z) == pytest.approx(NormalDist().cdf(z), abs=1e-15)
