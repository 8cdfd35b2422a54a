from __future__ import annotations

import math
from fractions import Fraction
from math import comb

import pytest

from carot.calibration.metrics.binomial import binomial_cdf, order_statistic_quantile, upper_bound


def summed(successes: int, count: int, chance: float) -> float:
    """P(X ≤ successes), term by term in fractions: exact."""
    p = Fraction(chance)
    terms = (comb(count, j) * p**j * (1 - p) ** (count - j) for j in range(successes + 1))
    return float(sum(terms))


@pytest.mark.parametrize("count", [1, 7, 60])
@pytest.mark.parametrize("chance", [0.0, 1e-9, 0.05, 0.5, 0.999, 1.0])
def test_the_distribution_is_the_sum_of_its_terms(count: int, chance: float) -> None:
    for successes in {-1, 0, 1, count // 20, count // 2, count - 1, count}:
        ours = binomial_cdf(successes, count, chance)
        assert ours == pytest.approx(summed(successes, count, chance), rel=1e-10, abs=1e-300)


@pytest.mark.parametrize(("successes", "count"), [(0, 1), (0, 59), (3, 100), (250, 9000), (5, 5)])
@pytest.mark.parametrize("delta", [0.001, 0.05, 0.5])
def test_the_bound_is_clopper_and_pearsons(successes: int, count: int, delta: float) -> None:
    bound = upper_bound(successes, count, delta)
    if successes == count:
        assert bound == 1.0
    else:  # at the bound, so few successes have the chance delta
        assert binomial_cdf(successes, count, bound) == pytest.approx(delta, rel=1e-8)


@pytest.mark.parametrize(("place", "count"), [(1, 1), (90, 99), (950, 1000), (1, 50)])
@pytest.mark.parametrize("level", [0.025, 0.5, 0.975])
def test_quantiles_of_order_statistics_are_betas(place: int, count: int, level: float) -> None:
    quantile = order_statistic_quantile(place, count, level)
    # As many as `place` of `count` uniform numbers lie below it with the chance `level`.
    assert 1 - binomial_cdf(place - 1, count, quantile) == pytest.approx(level, rel=1e-8)


def test_nonsense_is_refused() -> None:
    for successes, count, delta in ((0, 0, 0.1), (2, 1, 0.1), (0, 1, 0.0), (0, 1, 1.0)):
        with pytest.raises(ValueError, match="trials"):
            upper_bound(successes, count, delta)
    for place, count, level in ((0, 3, 0.5), (4, 3, 0.5), (1, 3, math.nan)):
        with pytest.raises(ValueError, match="place"):
            order_statistic_quantile(place, count, level)
