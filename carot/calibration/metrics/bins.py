"""Confidences sorted into bins, and the sums per bin that calibration errors are made of.

Shape suffixes: N images, B bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BinStatistics:
    """Sums per bin. Those of two parts of a data set add up to those of the whole.

    Attributes:
        count_B: int64, images.
        confidence_B: float64, sum of their confidences.
        correct_B: float64, right answers among them.
    """

    count_B: Tensor
    confidence_B: Tensor
    correct_B: Tensor

    @classmethod
    def of(
        cls, confidence_N: Tensor, correct_N: Tensor, bins_N: Tensor, bins: int
    ) -> BinStatistics:
        """Sum what lies in each of `bins` bins; `bins_N` says where an image belongs."""
        return cls(
            torch.bincount(bins_N, minlength=bins),
            torch.bincount(bins_N, confidence_N.double(), minlength=bins),
            torch.bincount(bins_N, correct_N.double(), minlength=bins),
        )

    def __add__(self, other: BinStatistics) -> BinStatistics:
        return BinStatistics(
            self.count_B + other.count_B,
            self.confidence_B + other.confidence_B,
            self.correct_B + other.correct_B,
        )

    def error(self) -> float:
        """Expected calibration error, Σ_b |Σ_{i in b} (o_i − c_i)| / N; no bin to divide by."""
        return float((self.correct_B - self.confidence_B).abs().sum() / self.count_B.sum())

    def root_mean_square_error(self) -> float:
        """√ Σ_b n_b/N (accuracy_b − confidence_b)²; an empty bin adds nothing."""
        square_B = (self.correct_B - self.confidence_B).square() / self.count_B.clamp_min(1)
        return math.sqrt(float(square_B.sum() / self.count_B.sum()))

    def largest_error(self, minimum: int) -> float | None:
        """Largest |accuracy_b − confidence_b| of a bin with `minimum` images; None without one."""
        counted_B = self.count_B >= max(1, minimum)
        if not bool(counted_B.any()):
            return None
        gap_B = (self.correct_B - self.confidence_B)[counted_B] / self.count_B[counted_B]
        return float(gap_B.abs().max())

    def debiased_square(self) -> float:
        """Mean square calibration error − its bias (Kumar et al. 2019, §5); may be below 0.

        Σ_b n_b/N [(a_b − c_b)² − a_b (1 − a_b) / (n_b − 1)]. A bin with one image has no variance
        to subtract and is left out.
        """
        counted_B = self.count_B >= 2
        n_B = self.count_B[counted_B].double()
        accuracy_B = self.correct_B[counted_B] / n_B
        gap_B = accuracy_B - self.confidence_B[counted_B] / n_B
        bias_B = accuracy_B * (1 - accuracy_B) / (n_B - 1)
        return float((n_B * (gap_B.square() - bias_B)).sum() / self.count_B.sum())

    def debiased_error(self) -> float:
        """Root of `debiased_square`, at least 0."""
        return math.sqrt(max(0.0, self.debiased_square()))


def equal_width_bins(confidence_N: Tensor, bins: int) -> Tensor:
    """Index of the bin (k/B, (k+1)/B] of each confidence, 0 in the first; float64 edges."""
    edges = torch.arange(1, bins, dtype=torch.float64, device=confidence_N.device) / bins
    return torch.bucketize(confidence_N.double(), edges)


def equal_mass_bins(confidence_N: Tensor, bins: int) -> Tensor:
    """Index of the bin ⌊rank · B / N⌋ of each confidence.

    Equal confidences share the middle of their ranks and so a bin: the order of the images does not
    matter, and a mass of equal confidences may leave bins empty.
    """
    _, group_N, size_G = torch.unique(confidence_N, return_inverse=True, return_counts=True)
    # Twice the middle rank, to stay among integers.
    middle_G = 2 * (size_G.cumsum(0) - size_G) + size_G - 1
    index_G: Tensor = middle_G * bins // (2 * len(confidence_N))
    return index_G[group_N]
