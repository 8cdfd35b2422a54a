"""What a confidence is worth: how often the model was right when it was about as confident.

The neighbourhood of a confidence c are the k calibration images whose confidence is nearest to it,
k = max(50, ⌈n / 20⌉) or all n where there are fewer: enough for an interval that says something,
and never more than a twentieth of a large split. Images as far away as the farthest of them are
taken too, so that ties are in or out together and the order of images does not matter. None is
farther away than `WIDTH`: where fewer than `LEAST_NEAR` lie so near, in a gap or beyond both ends
of what the split has seen, there is no evidence. Loads no torch.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field, PrivateAttr

from carot.calibration.label_sets import label_set_hash
from carot.calibration.metrics.intervals import Interval, wilson_interval
from carot.calibration.metrics.numbers import Numbers
from carot.errors import CalibrationError

if TYPE_CHECKING:
    from torch import Tensor

LEAST_NEIGHBOURS = 50
SHARE_OF_SPLIT = 20
WIDTH = 0.05
"""How far a neighbour's confidence may be from the one that is asked about."""
LEAST_NEAR = 5
"""Fewer neighbours than these say nothing: of four, all right, the interval begins at one half."""
ROUNDING = 1e-12


class Evidence(Numbers):
    """Of the calibration images whose confidence is within 0.05, how many were right."""

    count: int = Field(ge=1, description="Calibration images in the neighbourhood.")
    right: int = Field(ge=0, description="How many of them the model got right.")
    share: float = Field(ge=0, le=1, description="right / count.")
    interval: Interval = Field(
        description="Wilson's 95 % interval of the share, for images like the calibration images."
    )
    lowest: float = Field(ge=0, le=1, description="Lowest confidence in the neighbourhood.")
    highest: float = Field(ge=0, le=1, description="Highest confidence in the neighbourhood.")


class EvidenceTable(Numbers):
    """Confidences of the calibration images, rising, and which of their answers were right."""

    split: str
    label_set_hash: str
    confidences: tuple[float, ...] = Field(min_length=1)
    correct: tuple[bool, ...] = Field(min_length=1)

    _right_before: list[int] = PrivateAttr(default_factory=list)

    def model_post_init(self, context: object) -> None:
        """Sums of right answers, so that a look-up needs no loop."""
        pairs = itertools.pairwise(self.confidences)
        if len(self.confidences) != len(self.correct) or any(a > b for a, b in pairs):
            raise ValueError("rising confidences with one outcome each are needed")
        self._right_before.extend(itertools.accumulate(self.correct, initial=0))

    @property
    def neighbours(self) -> int:
        """How many images make a neighbourhood, but for ties and those too far away."""
        n = len(self.confidences)
        return min(n, max(LEAST_NEIGHBOURS, math.ceil(n / SHARE_OF_SPLIT)))

    def at(self, confidence: float) -> Evidence | None:
        """The evidence for a raw confidence; None where too few images had one near it. O(log n).

        Raises:
            CalibrationError: not a number from 0 to 1.
        """
        if not 0 <= confidence <= 1:
            raise CalibrationError(f"a confidence lies from 0 to 1, not {confidence:g}")
        start, end = self._neighbourhood(confidence)
        start = max(start, bisect_left(self.confidences, confidence - WIDTH - ROUNDING))
        end = min(end, bisect_right(self.confidences, confidence + WIDTH + ROUNDING))
        if end - start < LEAST_NEAR:
            return None
        count, right = end - start, self._right_before[end] - self._right_before[start]
        return Evidence(
            count=count,
            right=right,
            share=right / count,
            interval=wilson_interval(right, count),
            lowest=self.confidences[start],
            highest=self.confidences[end - 1],
        )

    def _neighbourhood(self, confidence: float) -> tuple[int, int]:
        """From which place to before which the neighbours are."""
        values, k = self.confidences, self.neighbours
        # The k nearest are next to each other. The window moves up while what enters at its end is
        # nearer than what leaves at its start; whether it does changes once.
        low, high = 0, len(values) - k
        while low < high:
            middle = (low + high) // 2
            if confidence - values[middle] > values[middle + k] - confidence:
                low = middle + 1
            else:
                high = middle
        radius = max(confidence - values[low], values[low + k - 1] - confidence)
        start = bisect_left(values, -radius, key=lambda value: value - confidence)
        end = bisect_right(values, radius, key=lambda value: value - confidence)
        # Rounding of a difference must not lose the farthest one.
        return min(start, low), max(end, low + k)


def fit_evidence(
    confidence_N: Tensor,
    correct_N: Tensor,
    *,
    classes: Sequence[str] = (),
    split: str = "calibration",
) -> EvidenceTable:
    """Keep the calibration images' confidences and outcomes.

    Args:
        confidence_N: of the top class, calibrated as they will be served.
        correct_N: whether it is right, bool.
        classes: names of the label set, kept as a hash.
        split: where the images come from, kept.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, confidences outside 0 to 1.
    """
    from carot.calibration.metrics.inputs import check_confidences

    check_confidences(confidence_N, correct_N)
    confidence_N, order_N = confidence_N.double().sort(stable=True)
    return EvidenceTable(
        split=split,
        label_set_hash=label_set_hash(classes),
        confidences=tuple(confidence_N.tolist()),
        correct=tuple(correct_N[order_N].tolist()),
    )
