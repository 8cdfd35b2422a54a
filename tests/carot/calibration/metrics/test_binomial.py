from __future__ import annotations

import math

import pytest
from scipy.stats import beta, binom

from carot.calibration.metrics.binomial import binomial_cdf, order_statistic_quantile, upper_bound


@pytest.mark.parametrize("count", [1, 7, 300, 40_000])
@pytest.mark.parametrize("chance", [0.0, 1e-9, 0.05, 0.5, 0.999, 1.0])
def test_the_distribution_is_scipys(count: int, chance: float) -> None:
    for successes in {-1, 0, 1, count // 20, count // 2, count - 1, count}:
        expected = binom.cdf(successes, count, chance)
        ours = binomial_cdf(successes, count, chance)
        assert ours == pytest.approx(expected, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (0, 59), (3, 100), (250, 9000), (5, 5)])
@pytest.mark.parametrize("delta", [0.001, 0.05, 0.5])
def test_the_bound_is_clopper_and_pearsons(successes: int, count: int, delta: float) -> None:
    expected = 1.0 if successes == count else beta.ppf(1 - delta, successes + 1, count - successes)
    assert upper_bound(successes, count, delta) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("place", "count"), [(1, 1), (90, 99), (950, 1000), (1, 50)])
@pytest.mark.parametrize("level", [0.025, 0.5, 0.975])
def test_quantiles_of_order_statistics_are_betas(place: int, count: int, level: float) -> None:
    expected = beta.ppf(level, place, count + 1 - place)
    assert order_statistic_quantile(place, count, level) == pytest.approx(expected, rel=1e-9)


def test_nonsense_is_refused() -> None:
    for successes, count, delta in ((0, 0, 0.1), (2, 1, 0.1), (0, 1, 0.0), (0, 1, 1.0)):
        with pytest.raises(ValueError, match="trials"):
            upper_bound(successes, count, delta)
    for place, count, level in ((0, 3, 0.5), (4, 3, 0.5), (1, 3, math.nan)):
        with pytest.raises(ValueError, match="place"):
            order_statistic_quantile(place, count, level)
