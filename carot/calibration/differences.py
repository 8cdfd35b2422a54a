"""The difference of a metric between two models on the same images, with a paired bootstrap.

A metric is a function of sums over the images of what each image contributes: one column for a
mean (NLL, Brier score, accuracy), some per bin for a calibration error. Both models are measured on
the same resampled images, so that what makes an image hard for both cancels out.
Shape suffixes: N images, K columns, B bins, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.bins import equal_mass_bins
from carot.calibration.inputs import CHUNK_ELEMENTS, check_confidences
from carot.calibration.intervals import Interval
from carot.calibration.numbers import BINS
from carot.errors import CalibrationError

RESAMPLES = 1000

Metric = Callable[[Tensor, int], Tensor]
"""From sums over the images, (R, K), and how many images they are of, to values, (R)."""


@dataclass(frozen=True)
class Difference:
    """The second model's value less the first's, with a 95 % interval."""

    value: float
    interval: Interval


@torch.no_grad()
def paired_difference(
    first_NK: Tensor,
    second_NK: Tensor,
    metric: Metric,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Bootstrap the difference of `metric` between two models (Efron and Tibshirani 1993, ch. 13).

    The interval is that of the percentiles, moved so that the mean over the resamples lies at the
    value on all images: squares, such as those of `debiased_square`, grow by resampling. It knows
    nothing of a bias of the metric itself. `mean` and `debiased_square` have none. A plug-in ECE
    has: for a calibrated beside a miscalibrated model, no interval of its difference holds.

    Args:
        first_NK: what each image contributes to the first model's metric.
        second_NK: the same of the second model, for the same images in the same order.
        metric: `mean`, `debiased_square`, or another.
        resamples: how often as many images are drawn with replacement, 1 or more.
        seed: what the draws depend on, on every device.

    Raises:
        CalibrationError: not two matrices of one shape, no images, values that are not finite.
    """
    if first_NK.ndim != 2 or first_NK.shape != second_NK.shape or 0 in first_NK.shape:
        raise CalibrationError(
            f"two matrices of the same images are needed, "
            f"not {tuple(first_NK.shape)} and {tuple(second_NK.shape)}"
        )
    both_NK = torch.cat((first_NK, second_NK), dim=1).double().cpu()
    if not both_NK.isfinite().all():
        raise CalibrationError("contributions that are not finite")
    images, columns = first_NK.shape

    def difference(sums_RK: Tensor) -> Tensor:
        return metric(sums_RK[:, columns:], images) - metric(sums_RK[:, :columns], images)

    value = float(difference(both_NK.sum(dim=0, keepdim=True)))
    drawn_R = difference(_resampled_sums(both_NK, resamples, seed))
    ends = drawn_R.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)) - drawn_R.mean()
    return Difference(value, (value + float(ends[0]), value + float(ends[1])))


def mean(sums_RK: Tensor, images: int) -> Tensor:
    """Mean over the images of one column: NLL, Brier score or accuracy."""
    return sums_RK[:, 0] / images


def debiased_square(sums_RK: Tensor, images: int) -> Tensor:
    """`BinStatistics.debiased_square`, of the columns of `binned`."""
    count_RB, confidence_RB, correct_RB = sums_RK.chunk(3, dim=1)
    n_RB = count_RB.clamp_min(2)
    accuracy_RB = correct_RB / n_RB
    gap_RB = accuracy_RB - confidence_RB / n_RB
    square_RB = gap_RB.square() - accuracy_RB * (1 - accuracy_RB) / (n_RB - 1)
    return torch.where(count_RB >= 2, n_RB * square_RB, 0.0).sum(dim=1) / images


def binned(confidence_N: Tensor, correct_N: Tensor, bins: int = BINS) -> Tensor:
    """What each image adds to its bin of equal mass: 1, its confidence, 1 if right; (N, 3B).

    Raises:
        CalibrationError: empty, misshapen or non-finite input, confidences outside 0 to 1.
    """
    check_confidences(confidence_N, correct_N)
    bin_N = equal_mass_bins(confidence_N, bins)
    place_N3 = torch.stack((bin_N, bin_N + bins, bin_N + 2 * bins), dim=1)
    confidence_N = confidence_N.double()
    added_N3 = torch.stack((torch.ones_like(confidence_N), confidence_N, correct_N.double()), dim=1)
    return added_N3.new_zeros(len(added_N3), 3 * bins).scatter_(1, place_N3, added_N3)


def _resampled_sums(rows_NK: Tensor, resamples: int, seed: int) -> Tensor:
    """Sums over as many rows, drawn with replacement; some resamples at a time."""
    generator = torch.Generator().manual_seed(seed)
    images = len(rows_NK)
    at_once = max(1, CHUNK_ELEMENTS // images)
    sums = []
    for start in range(0, resamples, at_once):
        block = min(at_once, resamples - start)
        drawn_RN = torch.randint(images, (block, images), generator=generator)
        # How often each image was drawn: a product with these is the sum over what was drawn.
        drawn_RN += torch.arange(block)[:, None] * images
        times_RN = torch.bincount(drawn_RN.flatten(), minlength=block * images)
        sums.append(times_RN.view(block, images).double() @ rows_NK)
    return torch.cat(sums)
