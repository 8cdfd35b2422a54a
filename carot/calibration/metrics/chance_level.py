"""Chance level: the ECE of a perfectly calibrated model with the same confidences.

A plug-in ECE is biased upward: with 1000 images and 15 bins a perfect model shows about 0.027. What
is measured has to be read beside that level. Shape suffixes: N images, B bins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from carot.calibration.metrics.bins import equal_width_bins
from carot.calibration.metrics.numbers import BINS

RESAMPLES = 200


def chance_level(
    confidence_N: Tensor, *, bins: int = BINS, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Mean and 95th percentile of the ECE when every outcome is drawn from its confidence."""
    confidence_N = confidence_N.double().cpu()
    generator = torch.Generator().manual_seed(seed)
    # Sorted, so that the mean does not depend on the order of the images.
    confidence_N = confidence_N.sort().values
    bins_N = equal_width_bins(confidence_N, bins)
    expected_B = torch.bincount(bins_N, confidence_N, minlength=bins)
    errors = []
    for _ in range(resamples):
        drawn_N = torch.rand(len(confidence_N), generator=generator, dtype=torch.float64)
        correct_B = torch.bincount(bins_N[drawn_N < confidence_N], minlength=bins)
        errors.append(float((correct_B - expected_B).abs().sum()) / len(confidence_N))
    levels = torch.tensor(errors, dtype=torch.float64)
    return float(levels.mean()), float(levels.quantile(0.95))
