"""Exact bounds from counts, by the binomial distribution itself. Loads no torch."""

from __future__ import annotations

from scipy.special import bdtr, betaincinv


def binomial_cdf(successes: int, count: int, chance: float) -> float:
    """P(X ≤ `successes`) of `count` trials, each with `chance`, 0 to 1."""
    if successes < 0:
        return 0.0
    return 1.0 if successes >= count else float(bdtr(successes, count, chance))


def upper_bound(successes: int, count: int, delta: float) -> float:
    """Clopper and Pearson's (1934) upper bound of a chance: it is above with probability ≤ delta.

    Raises:
        ValueError: no trials, more successes than trials, `delta` outside (0, 1).
    """
    if count <= 0 or not 0 <= successes <= count or not 0 < delta < 1:
        raise ValueError(f"{successes} successes of {count} trials at {delta}")
    if successes == count:
        return 1.0
    return float(betaincinv(successes + 1, count - successes, 1 - delta))


def order_statistic_quantile(place: int, count: int, level: float) -> float:
    """Quantile of Beta(`place`, `count` + 1 − `place`).

    That is the distribution of what share of all lies below the `place`-th smallest of `count`.

    Raises:
        ValueError: no such place, or `level` outside (0, 1).
    """
    if not 1 <= place <= count or not 0 < level < 1:
        raise ValueError(f"place {place} of {count} at {level}")
    return float(betaincinv(place, count + 1 - place, level))
