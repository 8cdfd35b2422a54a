"""Exact bounds from counts, by the binomial distribution itself. Loads no torch."""

from __future__ import annotations

import math

import numpy as np

BISECTIONS = 80


def binomial_cdf(successes: int, count: int, chance: float) -> float:
    """P(X ≤ `successes`) of `count` trials, each with `chance`; summed term by term."""
    if successes < 0:
        return 0.0
    if successes >= count or chance <= 0.0:
        return 1.0
    if chance >= 1.0:
        return 0.0
    # log C(n, j) p^j (1 − p)^(n − j) from each to the next: a sum of the logarithms of ratios.
    j = np.arange(successes, dtype=np.float64)
    ratios = np.log((count - j) / (j + 1)) + math.log(chance) - math.log1p(-chance)
    logs = count * math.log1p(-chance) + np.concatenate(([0.0], np.cumsum(ratios)))
    largest = float(logs.max())
    return min(1.0, math.exp(largest) * float(np.exp(logs - largest).sum()))


def upper_bound(successes: int, count: int, delta: float) -> float:
    """Clopper and Pearson's (1934) upper bound of a chance: it is above with probability ≤ delta.

    Raises:
        ValueError: no trials, more successes than trials, `delta` outside (0, 1).
    """
    if count <= 0 or not 0 <= successes <= count or not 0 < delta < 1:
        raise ValueError(f"{successes} successes of {count} trials at {delta}")
    return _chance_at(successes, count, delta, successes / count, 1.0)


def order_statistic_quantile(place: int, count: int, level: float) -> float:
    """Quantile of Beta(`place`, `count` + 1 − `place`).

    That is the distribution of what share of all lies below the `place`-th smallest of `count`.
    """
    if not 1 <= place <= count or not 0 < level < 1:
        raise ValueError(f"place {place} of {count} at {level}")
    # Its distribution function at x is the chance of `place` or more successes at x.
    return _chance_at(place - 1, count, 1 - level, 0.0, 1.0)


def _chance_at(successes: int, count: int, value: float, low: float, high: float) -> float:
    """The chance at which `binomial_cdf`, which falls with it, is `value`."""
    if successes >= count:
        return high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if binomial_cdf(successes, count, middle) > value:
            low = middle
        else:
            high = middle
    return high
