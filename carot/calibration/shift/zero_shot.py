"""Calibration that leans on the zero-shot model: its range of logits, or its confidence.

Fine-tuning widens the range of an image's logits, and confidences with it. Murugesan et al. 2024
(ECCV, arXiv 2407.13588) put the logits of each image back into the range that the zero-shot model
gives the same image:

    z' = (z − min z) / (max z − min z) · (max z⁰ − min z⁰) + min z⁰

Applied when predicting, this is their SaLS; in the training loss alone, their ZS-Norm. There are no
constants. Both need the zero-shot logits of every image. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import brentq
from torch import Tensor

from carot.calibration.calibrators.temperature import HIGHEST, LOWEST, typical_spread
from carot.calibration.metrics.inputs import slices
from carot.errors import CalibrationError

TOLERANCE = 1e-12
"""Of the logarithm of the temperature."""


def in_zero_shot_range(logits_NC: Tensor, zero_shot_NC: Tensor) -> Tensor:
    """SaLS, and what ZS-Norm trains on: each image's logits in the range of its zero-shot logits.

    Nothing is fitted. Rankings stay; gradients flow through `logits_NC`. An image whose logits are
    all equal keeps them equal.

    Returns:
        Logits (N, C), float64.

    Raises:
        CalibrationError: not two floating-point matrices of one shape, with rows and two columns or
            more, or a number that is not finite.
    """
    logits_NC, zero_shot_NC = _both(logits_NC, zero_shot_NC)
    low_N1, high_N1 = logits_NC.amin(dim=1, keepdim=True), logits_NC.amax(dim=1, keepdim=True)
    width_N1 = (high_N1 - low_N1).clamp_min(torch.finfo(torch.float64).tiny)
    zero_low_N1 = zero_shot_NC.amin(dim=1, keepdim=True)
    zero_width_N1 = zero_shot_NC.amax(dim=1, keepdim=True) - zero_low_N1
    return (logits_NC - low_N1) / width_N1 * zero_width_N1 + zero_low_N1


@torch.no_grad()
def fit_zero_shot_range(logits_NC: Tensor, zero_shot_NC: Tensor) -> float:
    """The temperature that gives logits the mean range of the zero-shot logits: one for all images.

        T = mean (max z − min z) / mean (max z⁰ − min z⁰)

    What SaLS does to each image, done to all of them alike; ours, for comparison.

    Raises:
        CalibrationError: see `in_zero_shot_range`; or the ranges are all 0.
    """
    logits_NC, zero_shot_NC = _both(logits_NC, zero_shot_NC)
    width, zero_width = (float((z.amax(dim=1) - z.amin(dim=1)).mean()) for z in
                         (logits_NC, zero_shot_NC))  # fmt: skip
    if width <= 0 or zero_width <= 0:
        raise CalibrationError("all logits of each image are equal: they have no range")
    return width / zero_width


@torch.no_grad()
def fit_zero_shot_confidence(logits_NC: Tensor, zero_shot_NC: Tensor) -> float:
    """The temperature at which images without labels get the zero-shot model's mean confidence.

        mean max softmax(z / T) = mean max softmax(z⁰)

    The left side falls as T rises, so that there is one T; within `LOWEST` and `HIGHEST` times the
    logits' `typical_spread`, and that bound where the confidence cannot be reached. The idea is
    that zero-shot confidences stay true under shift (Minderer et al. 2021, arXiv 2106.07998;
    LeVine et al. 2023, arXiv 2303.12748); that a fine-tuned model should share them is ours, and
    is only right as far as it is no more accurate.

    Args:
        logits_NC, zero_shot_NC: of the same images, of the kind that will be asked about.

    Raises:
        CalibrationError: see `in_zero_shot_range`.
    """
    logits_NC, zero_shot_NC = _both(logits_NC, zero_shot_NC)
    aim = mean_confidence(zero_shot_NC, 1.0)
    spread = typical_spread(logits_NC)

    def above(log_temperature: float) -> float:
        return mean_confidence(logits_NC, math.exp(log_temperature)) - aim

    low, high = (math.log(bound * spread) for bound in (LOWEST, HIGHEST))
    if above(low) <= 0:
        return math.exp(low)
    if above(high) >= 0:
        return math.exp(high)
    return math.exp(float(brentq(above, low, high, xtol=TOLERANCE)))


def mean_confidence(logits_NC: Tensor, temperature: float) -> float:
    """Mean of the largest probability of each image, at a temperature."""
    total = 0.0
    for part in slices(logits_NC):
        scaled_NC = logits_NC[part].double() / temperature
        total += float(scaled_NC.softmax(dim=1).amax(dim=1).sum())
    return total / len(logits_NC)


def _both(logits_NC: Tensor, zero_shot_NC: Tensor) -> tuple[Tensor, Tensor]:
    if logits_NC.ndim != 2 or logits_NC.shape[0] < 1 or logits_NC.shape[1] < 2:
        raise CalibrationError(f"logits of shape (N, C), not {tuple(logits_NC.shape)}")
    if zero_shot_NC.shape != logits_NC.shape:
        raise CalibrationError(
            f"zero-shot logits of the same images and classes are needed, of shape "
            f"{tuple(logits_NC.shape)}, not {tuple(zero_shot_NC.shape)}"
        )
    for each_NC in (logits_NC, zero_shot_NC):
        if not each_NC.is_floating_point() or not bool(each_NC.isfinite().all()):
            raise CalibrationError("logits must be finite floating-point numbers")
    return logits_NC.double(), zero_shot_NC.double()
