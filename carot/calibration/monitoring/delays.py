"""Whether labels of wrong answers come sooner, or later, than those of right ones.

The test of `e_process` holds for labels in any order that does not depend on outcomes it has not
seen. Where mistakes are reported at once and right answers confirmed next week, it sees mistakes
first, and calls any model overconfident. Both times of a label are known, so this can be seen.

Confidence may decide how soon a label comes, and so may the day: delays are compared among answers
of about the same confidence and time, by Wilcoxon's rank sums, put together as van Elteren (1960)
does, with weights 1 / (n + 1). Loads no torch. Shape suffix: N labelled predictions, in the order
in which they were made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import ndtr

from carot.calibration.metrics.numbers import Numbers
from carot.errors import CalibrationError

LEVEL = 0.01
"""Chance of such a difference between delays alike, at which they are said to differ."""
PERIODS, PARTS = 8, 8
"""Into which labels are divided by time, and each period by confidence."""
LEAST = 10
"""Right and wrong answers each, without which nothing is compared."""

Floats = NDArray[np.float64]


class Delays(Numbers):
    """How long labels took, of right and of wrong answers."""

    right: int = Field(ge=0, description="Labelled answers that are right.")
    wrong: int = Field(ge=0)
    median_right: float | None = Field(description="Median delay in seconds; null without any.")
    median_wrong: float | None
    sooner: float | None = Field(
        ge=0,
        le=1,
        description="Chance that of a wrong and a right answer of about the same confidence and "
        "time the wrong one is labelled first, equal delays counting half; null where too few "
        "can be compared.",
    )
    p_value: float | None = Field(
        ge=0, le=1, description="Chance of such a difference if delays are alike, for one look."
    )
    differ: bool = Field(
        description="Whether that is at most 0.01: then labels seem to depend on outcomes, and "
        "what the test and the figures say of the model may come of that."
    )
    text: str | None = Field(description="The same in words, where they differ.")


def delays(confidence_N: Floats, correct_N: NDArray[np.bool_], seconds_N: Floats) -> Delays:
    """Compare the delays of labels.

    Args:
        confidence_N: as it was served.
        correct_N: whether the answer was right.
        seconds_N: from the prediction to its label.

    Raises:
        CalibrationError: not as many of each, or numbers that are not finite.
    """
    if not confidence_N.shape == correct_N.shape == seconds_N.shape or confidence_N.ndim != 1:
        raise CalibrationError("one confidence, outcome and delay of each label are needed")
    if not bool(np.isfinite(confidence_N).all() and np.isfinite(seconds_N).all()):
        raise CalibrationError("confidences and delays are finite numbers")
    right, wrong = int(correct_N.sum()), int((~correct_N).sum())
    sooner, p_value = None, None
    if min(right, wrong) >= LEAST:
        sooner, p_value = _van_elteren(~correct_N, seconds_N, _strata(confidence_N))
    differ = p_value is not None and p_value <= LEVEL
    medians = [float(np.median(seconds_N[each])) if each.any() else None
               for each in (correct_N, ~correct_N)]  # fmt: skip
    return Delays(
        right=right,
        wrong=wrong,
        median_right=medians[0],
        median_wrong=medians[1],
        sooner=sooner,
        p_value=p_value,
        differ=differ,
        text=_words(sooner, medians[0], medians[1]) if differ else None,
    )


def _strata(confidence_N: Floats) -> NDArray[np.int64]:
    """By period, and in each by the confidences."""
    place_N = np.arange(len(confidence_N))
    period_N = place_N * PERIODS // len(confidence_N)
    part_N = np.zeros_like(place_N)
    for period in range(PERIODS):
        own_n = np.flatnonzero(period_N == period)
        order_n = np.argsort(confidence_N[own_n], kind="stable")
        part_N[own_n[order_n]] = np.arange(len(own_n)) * PARTS // max(1, len(own_n))
    strata_N: NDArray[np.int64] = period_N * PARTS + part_N
    return strata_N


def _van_elteren(
    wrong_N: NDArray[np.bool_], seconds_N: Floats, strata_N: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """The chance that a wrong answer's label comes first, and the two-sided p value."""
    statistic = variance = earlier = pairs = 0.0
    for stratum in np.unique(strata_N):
        wrong_n, rank_n = wrong_N[strata_N == stratum], _ranks(seconds_N[strata_N == stratum])
        n, m = len(wrong_n), int(wrong_n.sum())
        if m in (0, n):
            continue
        excess = float(rank_n[wrong_n].sum()) - m * (n + 1) / 2
        statistic += excess / (n + 1)
        # Of ranks drawn without replacement; ties make it smaller.
        variance += m * (n - m) / n * float(rank_n.var(ddof=1)) / (n + 1) ** 2
        earlier += m * (n - m) / 2 - excess
        pairs += m * (n - m)
    if variance == 0.0:
        return None, None
    return earlier / pairs, float(2 * ndtr(-abs(statistic) / np.sqrt(variance)))


def _ranks(values_N: Floats) -> Floats:
    """From 1 on; equal values share the middle of their ranks."""
    _, group_N, size_G = np.unique(values_N, return_inverse=True, return_counts=True)
    ranks_N: Floats = (np.cumsum(size_G) - (size_G - 1) / 2)[group_N]
    return ranks_N


def _words(sooner: float | None, right: float | None, wrong: float | None) -> str:
    assert sooner is not None
    assert right is not None
    assert wrong is not None
    when = "sooner" if sooner > 0.5 else "later"
    return (
        f"labels of wrong answers come {when} than those of right ones of the same confidence "
        f"(median delay {_duration(wrong)} and {_duration(right)}): an alarm may come of that, "
        "and not of the model"
    )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
