"""A 95 % interval of the squared calibration error, around its debiased estimate.

θ = Σ_b w_b μ_b² is the square error of a model whose outcomes exceed confidence by μ_b on average
in bin b, which holds the share w_b of images. Of n_b outcomes of variance σ_b², the unbiased
estimate of μ_b² is the mean of the products of two different residuals. Its variance is exactly

    4 μ_b² σ_b² / n_b + 2 σ_b⁴ / (n_b (n_b − 1))

so that the estimate of θ has variance s θ + v, where s = 4 Σ_b w_b μ_b² σ_b² / (N θ) and
v = Σ_b 2 σ_b⁴ n_b / (n_b − 1) / N², plus Var_b(μ_b²) / N for which images were drawn. The error is
of order 1/√N for a miscalibrated model and of order 1/N for a calibrated one, where s θ is gone:
the two regimes of Sun et al. 2024 (arXiv 2408.08998). One interval holds in both when, as in
Wilson's, θ itself sets the variance: all θ ≥ 0 with (estimate − θ)² ≤ 1.96² (s θ + v).
Shape suffix: B bins.
"""

from __future__ import annotations

import math

from torch import Tensor

from carot.calibration.metrics.bins import BinStatistics
from carot.calibration.metrics.intervals import CRITICAL_95, Interval


def debiased_interval(statistics: BinStatistics) -> Interval:
    """95 % interval of Σ_b w_b μ_b², within [0, 1], for bins of equal mass.

    Asymptotic in the number of images per bin. The error within a bin, above and below its mean,
    is not seen. Images alone in their bin tell nothing: their share is added to the upper end.
    """
    counted_B = statistics.count_B >= 2
    n_B = statistics.count_B[counted_B].double()
    return interval_of(
        n_B / int(statistics.count_B.sum()),
        n_B,
        statistics.confidence_B[counted_B] / n_B,
        statistics.correct_B[counted_B] / n_B,
        statistics.debiased_square(),
    )


def interval_of(
    share_B: Tensor, n_B: Tensor, confidence_B: Tensor, accuracy_B: Tensor, estimate: float
) -> Interval:
    """The same from means per bin, all float64, of the bins that hold two images or more.

    Args:
        share_B: w_b; what is missing to 1 is unseen.
        n_B: images, or as many as tell as much.
        confidence_B, accuracy_B: means.
        estimate: the debiased one of θ.
    """
    unseen = max(0.0, 1.0 - float(share_B.sum()))
    if len(n_B) == 0:
        return 0.0, 1.0
    square_B = (accuracy_B - confidence_B).square()
    # Laplace's estimate: outcomes vary even where a bin shows no mistake.
    smoothed_B = (accuracy_B * n_B + 1) / (n_B + 2)
    variance_B = smoothed_B * (1 - smoothed_B)
    plug_in = float((share_B * square_B).sum())
    weight_B = share_B.square() / n_B
    slope = 4 * float((weight_B * square_B * variance_B).sum()) / (plug_in or 1.0)
    spread = max(0.0, float((share_B * square_B.square()).sum()) - plug_in**2)
    drawn = spread * float(weight_B.sum())
    floor = 2 * float((weight_B * variance_B.square() / (n_B - 1)).sum()) + drawn
    # The roots of (estimate − θ)² = 1.96² (slope θ + floor).
    estimate = max(0.0, estimate)
    critical = CRITICAL_95**2
    centre = estimate + critical * slope / 2
    half = math.sqrt(centre**2 - estimate**2 + critical * floor)
    return max(0.0, centre - half), min(1.0, centre + half + unseen)
