"""The difference of metrics between models on the same images, with a paired bootstrap.

A metric is a function of sums over the images of what each image contributes: one column for a
mean (NLL, Brier score, accuracy), some per bin for a calibration error. Both models are measured on
the same resampled images, so that what makes an image hard for both cancels out.
Shape suffixes: N images, K columns, B bins, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.metrics.bins import equal_mass_bins
from carot.calibration.metrics.inputs import check_confidences
from carot.calibration.metrics.intervals import Interval
from carot.calibration.metrics.numbers import BINS
from carot.errors import CalibrationError

RESAMPLES = 1000
DRAWS = 1 << 22
"""Images drawn at once, over all the resamples of a block: 32 MiB, and few passes over the rows."""

Metric = Callable[[Tensor, int], Tensor]
"""From sums over the images, (R, K), and how many images they are of, to values, (R)."""


@dataclass(frozen=True)
class Difference:
    """The second model's value − the first's, with a 95 % interval.

    Attributes:
        standard_error: standard deviation of the difference over the resamples.
    """

    value: float
    interval: Interval
    standard_error: float


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
    [[found]] = paired_differences(
        [[first_NK], [second_NK]], [metric], resamples=resamples, seed=seed
    )
    return found


@torch.no_grad()
def paired_differences(
    models: Sequence[Sequence[Tensor]],
    metrics: Sequence[Metric],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[list[Difference]]:
    """`paired_difference` of every later model to the first, in every metric, with the same draws.

    Args:
        models: of each, what the images contribute to each metric: matrices (N, K), K as it may.

    Returns:
        For each later model, one difference a metric.

    Raises:
        CalibrationError: not matrices of the same shapes, no images, values that are not finite.
    """
    first = models[0]
    for other in models[1:]:
        for first_NK, second_NK in zip(first, other, strict=True):
            if first_NK.ndim != 2 or first_NK.shape != second_NK.shape or 0 in first_NK.shape:
                raise CalibrationError(
                    f"two matrices of the same images are needed, "
                    f"not {tuple(first_NK.shape)} and {tuple(second_NK.shape)}"
                )
    images, widths = len(first[0]), [part.shape[1] for part in first]
    rows_NK = torch.cat([part_NK.double().cpu() for model in models for part_NK in model], dim=1)
    if not rows_NK.isfinite().all():
        raise CalibrationError("contributions that are not finite")
    # The first row is of all images as they are, the others are resampled.
    sums_RK = torch.cat((rows_NK.sum(0, keepdim=True), _resampled_sums(rows_NK, resamples, seed)))
    parts = iter(sums_RK.split(widths * len(models), dim=1))
    values = [[metric(next(parts), images) for metric in metrics] for _ in models]
    return [
        [_difference(mine - its) for its, mine in zip(values[0], other, strict=True)]
        for other in values[1:]
    ]


def _difference(found_R: Tensor) -> Difference:
    value, drawn_R = float(found_R[0]), found_R[1:]
    ends = drawn_R.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)) - drawn_R.mean()
    error = float(drawn_R.std(correction=0))
    return Difference(value, (value + float(ends[0]), value + float(ends[1])), error)


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
    at_once = max(1, DRAWS // images)
    sums = []
    for start in range(0, resamples, at_once):
        block = min(at_once, resamples - start)
        drawn_RN = torch.randint(images, (block, images), generator=generator)
        # How often each image was drawn: a product with these is the sum over what was drawn.
        drawn_RN += torch.arange(block)[:, None] * images
        times_RN = torch.bincount(drawn_RN.flatten(), minlength=block * images)
        sums.append(times_RN.view(block, images).double() @ rows_NK)
    return torch.cat(sums)
