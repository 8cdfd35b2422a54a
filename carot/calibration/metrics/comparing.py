"""Models side by side on the same images: which of their differences are real.

Every model is compared with the first. A calibration error is compared by its debiased square, as
`differences` says why. Shape suffixes: N images, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from carot.calibration.metrics.binomial import binomial_cdf
from carot.calibration.metrics.differences import (
    RESAMPLES,
    Difference,
    binned,
    debiased_square,
    mean,
    paired_differences,
)
from carot.calibration.metrics.inputs import chunks
from carot.calibration.metrics.likelihood import raw_negative_log_likelihood
from carot.calibration.metrics.metrics import top_label

MetricName = Literal["accuracy", "nll", "brier", "debiased_squared"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
_FUNCTIONS = (mean, mean, mean, debiased_square)
Contributions = tuple[Tensor, Tensor, Tensor, Tensor]
"""What each image adds to each of METRICS; matrices with a row an image."""


@dataclass(frozen=True)
class Tested:
    """A difference to the first model and the chance of one as large between equal models.

    `p_value` is that of an exact sign test for accuracy (McNemar 1947), of a normal distribution
    with the bootstrap's standard error for the others; two-sided, not yet adjusted.
    """

    metric: MetricName
    difference: Difference
    p_value: float


@torch.no_grad()
def contributions(
    log_NK: Tensor, labels_N: Tensor, *, ranked_by: Tensor | None = None
) -> Contributions:
    """What the images of one model add, from its logits or log-probabilities.

    Args:
        ranked_by: raw logits that say which class is on top, see `compute_metrics`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    confidence_N, correct_N = top_label(log_NK, labels_N, ranked_by=ranked_by)
    brier = []
    for chunk_NK, label_N in chunks(log_NK, labels_N):
        residual_NK = chunk_NK.softmax(dim=1)
        residual_NK[torch.arange(len(label_N)), label_N] -= 1.0
        brier.append(residual_NK.square().sum(dim=1, keepdim=True))
    nll_N = raw_negative_log_likelihood(log_NK, labels_N)
    return (
        correct_N.double()[:, None],
        nll_N[:, None],
        torch.cat(brier),
        binned(confidence_N, correct_N),
    )


def compare(
    models: Sequence[Contributions], *, resamples: int = RESAMPLES, seed: int = 0
) -> list[list[Tested]]:
    """The differences of every later model to the first, one a metric.

    Args:
        models: two or more, of the same images in the same order.

    Raises:
        CalibrationError: other images, or values that are not finite.
    """
    found = paired_differences(models, _FUNCTIONS, resamples=resamples, seed=seed)
    first_N = models[0][0][:, 0]
    tested = []
    for model, differences in zip(models[1:], found, strict=True):
        accuracy, *others = differences
        row = [Tested("accuracy", accuracy, sign_test(first_N, model[0][:, 0]))]
        row += [
            Tested(name, each, _normal(each))
            for name, each in zip(METRICS[1:], others, strict=True)
        ]
        tested.append(row)
    return tested


def sign_test(first_N: Tensor, second_N: Tensor) -> float:
    """Two-sided chance that, of the images that one of two models has right, one has so many."""
    better, worse = int((second_N > first_N).sum()), int((second_N < first_N).sum())
    return min(1.0, 2 * binomial_cdf(min(better, worse), better + worse, 0.5))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that of all that are at most α, with chance 1 − α none is by chance (Holm 1979).

    The chances may depend on each other in any way.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[i])
        adjusted[i] = min(1.0, largest)
    return adjusted


def _normal(difference: Difference) -> float:
    if difference.standard_error == 0.0:
        return 1.0 if difference.value == 0.0 else 0.0
    return math.erfc(abs(difference.value) / difference.standard_error / math.sqrt(2))
