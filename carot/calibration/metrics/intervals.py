"""95 % intervals of what was counted. Loads no torch."""

from __future__ import annotations

import math

CRITICAL_95 = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution."""

Interval = tuple[float, float]


def wilson_interval(successes: float, count: float) -> Interval:
    """Wilson's 95 % interval of a proportion, within [0, 1].

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if count <= 0 or not 0 <= successes <= count:
        raise ValueError(f"{successes} successes of {count} trials")
    share = successes / count
    square = CRITICAL_95**2
    centre = (share + square / (2 * count)) / (1 + square / count)
    spread = share * (1 - share) / count + square / (4 * count * count)
    half = CRITICAL_95 / (1 + square / count) * math.sqrt(spread)
    # At 0 and N successes the end is exactly 0 and 1; rounding alone would miss it.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == count else min(1.0, centre + half)
    return low, high
