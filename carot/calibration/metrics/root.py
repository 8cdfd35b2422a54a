"""Where a function that falls crosses 0."""

from __future__ import annotations

from collections.abc import Callable

STEPS = 60
TOLERANCE = 1e-12


def falling_root(
    falling: Callable[[float], float],
    low: float,
    high: float,
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Where `falling`, 0 or above at `low` and 0 or below at `high`, is 0: regula falsi.

    The value at an end that stays twice is halved (Illinois), so that both ends close in. Stops at
    a value of at most `tolerance`.
    """
    above, below = falling(low), falling(high)
    if above <= 0.0:
        return low
    if below >= 0.0:
        return high
    moved = 0
    for _ in range(STEPS):
        middle = low + (high - low) * above / (above - below)
        value = falling(middle)
        if abs(value) <= tolerance:
            return middle
        if value > 0:
            low, above = middle, value
            below = below / 2 if moved > 0 else below
            moved = 1
        else:
            high, below = middle, value
            above = above / 2 if moved < 0 else above
            moved = -1
    return middle
