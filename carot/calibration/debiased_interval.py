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

from carot.calibration.bins import BinStatistics
from carot.calibration.intervals import CRITICAL_95, Interval


def debiased_interval(statistics: BinStatistics) -> Interval:
    """95 % interval of Σ_b w_b μ_b², within [0, 1], for bins of equal mass.

    Asymptotic in the number of images per bin. The error within a bin, above and below its mean,
    is not seen. Images alone in their bin tell nothing: their share is added to the upper end.
    """
    counted_B = statistics.count_B >= 2
    images = int(statistics.count_B.sum())
    n_B = statistics.count_B[counted_B].double()
    unseen = 1.0 - float(n_B.sum()) / images
    if len(n_B) == 0:
        return 0.0, 1.0
    confidence_B = statistics.confidence_B[counted_B] / n_B
    correct_B = statistics.correct_B[counted_B]
    share_B = n_B / images
    square_B = (correct_B / n_B - confidence_B).square()
    # Laplace's estimate: outcomes vary even where a bin shows no mistake.
    smoothed_B = (correct_B + 1) / (n_B + 2)
    variance_B = smoothed_B * (1 - smoothed_B)
    plug_in = float((share_B * square_B).sum())
    slope = 4 * float((share_B * square_B * variance_B).sum()) / (plug_in * images or 1.0)
    drawn = max(0.0, float((share_B * square_B.square()).sum()) - plug_in**2) / images
    floor = 2 * float((variance_B.square() * n_B / (n_B - 1)).sum()) / images**2 + drawn
    # The roots of (estimate − θ)² = 1.96² (slope θ + floor).
    estimate = max(0.0, statistics.debiased_square())
    critical = CRITICAL_95**2
    centre = estimate + critical * slope / 2
    half = math.sqrt(centre**2 - estimate**2 + critical * floor)
    return max(0.0, centre - half), min(1.0, centre + half + unseen)
