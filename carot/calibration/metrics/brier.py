"""The Brier score of the top label and what it is made of. Shape suffixes: N images, B bins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.metrics.bins import BinStatistics, equal_width_bins
from carot.calibration.metrics.inputs import check_confidences
from carot.calibration.metrics.numbers import BINS


@dataclass(frozen=True)
class BrierParts:
    """score = reliability − resolution + uncertainty + within, but for rounding.

    The first three are Murphy's (1973). They make up the score only where all confidences of a bin
    are equal; what is left else is `within` (Stephenson et al. 2008).

    Attributes:
        score: mean (c − o)², 0 to 1.
        reliability: Σ_b n_b/N (accuracy_b − confidence_b)², 0 to 1; the lower, the better.
        resolution: Σ_b n_b/N (accuracy_b − accuracy)², 0 to 1/4; the higher, the better.
        uncertainty: accuracy (1 − accuracy), 0 to 1/4; the model's answers set it alone.
        within: mean of (c − confidence_b)² − 2 (c − confidence_b) (o − accuracy_b): the variance
            of the confidences in a bin − twice their covariance with the outcomes.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


@torch.no_grad()
def brier_parts(confidence_N: Tensor, correct_N: Tensor, bins: int = BINS) -> BrierParts:
    """The parts over equal-width bins.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, confidences outside 0 to 1.
    """
    check_confidences(confidence_N, correct_N)
    confidence_N, outcome_N = confidence_N.double(), correct_N.double()
    bins_N = equal_width_bins(confidence_N, bins)
    statistics = BinStatistics.of(confidence_N, correct_N, bins_N, bins)
    n_B = statistics.count_B.clamp_min(1)
    share_B = statistics.count_B.double() / len(confidence_N)
    mean_B, accuracy_B = statistics.confidence_B / n_B, statistics.correct_B / n_B
    accuracy = float(outcome_N.mean())
    # Deviations from the means, not differences of squares: those would lose digits.
    deviation_N = confidence_N - mean_B[bins_N]
    within_N = deviation_N * (deviation_N - 2 * (outcome_N - accuracy_B[bins_N]))
    return BrierParts(
        score=float((confidence_N - outcome_N).square().mean()),
        reliability=float((share_B * (accuracy_B - mean_B).square()).sum()),
        resolution=float((share_B * (accuracy_B - accuracy).square()).sum()),
        uncertainty=accuracy * (1 - accuracy),
        within=float(within_N.mean()),
    )
