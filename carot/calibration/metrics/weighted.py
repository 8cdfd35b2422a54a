"""Calibration error where some images stand for more than others.

Weights are Horvitz and Thompson's, 1 / the chance of being logged; sums of them take the place of
counts (Hájek's ratio). Variances are those of n_b = (Σw)² / Σw² images in a bin (Kish 1965), exact
for the variance of a weighted mean of outcomes with one chance. With equal weights everything here
is what `BinStatistics` and `debiased_interval` give. Shape suffixes: N images, B bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.metrics.bins import equal_width_bins
from carot.calibration.metrics.chance_level import RESAMPLES
from carot.calibration.metrics.debiased_interval import interval_of
from carot.calibration.metrics.intervals import CRITICAL_95, Interval, wilson_interval
from carot.calibration.metrics.numbers import BINS, Bin


@dataclass(frozen=True)
class WeightedBins:
    """Means per bin. All tensors are float64 but the first; empty bins hold 0.

    Attributes:
        count_B: int64, images.
        share_B: of the weight of all images.
        effective_B: how many images of equal weight would tell as much.
        confidence_B, accuracy_B: weighted means.
    """

    count_B: Tensor
    share_B: Tensor
    effective_B: Tensor
    confidence_B: Tensor
    accuracy_B: Tensor

    @classmethod
    def of(
        cls, confidence_N: Tensor, correct_N: Tensor, weight_N: Tensor, bins_N: Tensor, bins: int
    ) -> WeightedBins:
        """Of N confidences, outcomes and weights above 0; `bins_N` says where each belongs."""
        # Equal weights become 1, and sums of them exact.
        weight_N = weight_N.double() / weight_N.double().max()

        def total(value_N: Tensor) -> Tensor:
            return torch.bincount(bins_N, value_N, minlength=bins)

        weight_B = total(weight_N)
        square_B = total(weight_N.square())
        some_B = torch.where(weight_B > 0, weight_B, 1.0)
        return cls(
            torch.bincount(bins_N, minlength=bins),
            weight_B / weight_B.sum(),
            weight_B.square() / torch.where(square_B > 0, square_B, 1.0),
            total(weight_N * confidence_N.double()) / some_B,
            total(weight_N * correct_N.double()) / some_B,
        )

    def error(self) -> float:
        """Expected calibration error, Σ_b share_b |accuracy_b − confidence_b|."""
        return float((self.share_B * (self.accuracy_B - self.confidence_B).abs()).sum())

    def debiased_square(self) -> float:
        """Mean square calibration error − its bias; bins worth under two are left out."""
        counted_B = self.effective_B >= 2
        accuracy_B, n_B = self.accuracy_B[counted_B], self.effective_B[counted_B]
        gap_B = accuracy_B - self.confidence_B[counted_B]
        bias_B = accuracy_B * (1 - accuracy_B) / (n_B - 1)
        return float((self.share_B[counted_B] * (gap_B.square() - bias_B)).sum())

    def debiased_interval(self) -> Interval:
        """95 % interval of the square calibration error, see `debiased_interval`."""
        counted_B = self.effective_B >= 2
        return interval_of(
            self.share_B[counted_B],
            self.effective_B[counted_B],
            self.confidence_B[counted_B],
            self.accuracy_B[counted_B],
            self.debiased_square(),
        )

    def bars(self) -> tuple[Bin, ...]:
        """The bars of a reliability diagram, for equal-width bins of [0, 1]."""
        bins = len(self.count_B)
        found = []
        for index, count in enumerate(self.count_B.tolist()):
            accuracy, n = float(self.accuracy_B[index]), float(self.effective_B[index])
            found.append(
                Bin(
                    lower=index / bins,
                    upper=(index + 1) / bins,
                    count=count,
                    confidence=min(1.0, float(self.confidence_B[index])) if count else None,
                    accuracy=accuracy if count else None,
                    accuracy_interval=wilson_interval(accuracy * n, n) if count else None,
                )
            )
        return tuple(found)


def weighted_chance_level(
    confidence_N: Tensor, weight_N: Tensor, *, bins: int = BINS, seed: int = 0
) -> tuple[float, float]:
    """Mean and 95th percentile of the ECE when every outcome is drawn from its confidence."""
    generator = torch.Generator().manual_seed(seed)
    order_N = confidence_N.double().sort(stable=True).indices
    confidence_N, weight_N = confidence_N.double()[order_N], weight_N.double()[order_N]
    bins_N = equal_width_bins(confidence_N, bins)
    errors = []
    for _ in range(RESAMPLES):
        drawn_N = torch.rand(len(confidence_N), generator=generator, dtype=torch.float64)
        gap_N = weight_N * ((drawn_N < confidence_N).double() - confidence_N)
        errors.append(float(torch.bincount(bins_N, gap_N, minlength=bins).abs().sum()))
    levels = torch.tensor(errors, dtype=torch.float64) / weight_N.sum()
    return float(levels.mean()), float(levels.quantile(0.95))


def expected_accuracy(confidence_N: Tensor, weight_N: Tensor) -> tuple[float, Interval]:
    """Weighted mean confidence, and where 95 % of accuracies lie if outcomes follow confidences.

    Outcomes are independent and of chance c each: their weighted mean has variance
    Σ w² c (1 − c) / (Σw)² (Poisson-binomial, by the normal approximation).
    """
    confidence_N, weight_N = confidence_N.double(), weight_N.double()
    total = float(weight_N.sum())
    mean = min(1.0, float((weight_N * confidence_N).sum()) / total)
    variance = float((weight_N.square() * confidence_N * (1 - confidence_N)).sum()) / total**2
    half = CRITICAL_95 * math.sqrt(variance)
    return mean, (max(0.0, mean - half), min(1.0, mean + half))
