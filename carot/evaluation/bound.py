"""The terms of CaRot's bound on errors under shift (NeurIPS 2024, Theorem 3.1), as measured.

    OOD error <= ID calibration error + D / sigma_min + (terms that no data show)

sigma_min is the smallest singular value of the correlation matrix of the D image features. The
trace of that matrix is D, so sigma_min <= 1 and D / sigma_min >= D, while the left side is at most
1: as a number the bound says nothing. Only the trend means something: of two models on the same
data, the one with lower calibration error and larger sigma_min is expected to suffer less.
Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.metrics.bins import BinStatistics, equal_mass_bins
from carot.calibration.metrics.metrics import top_label
from carot.calibration.metrics.numbers import BINS
from carot.errors import CalibrationError

CONSTANT = 1e-6
"""A coordinate that deviates by less than this share of its size varies by rounding of float32."""


@dataclass(frozen=True)
class BoundTerms:
    """The two measurable terms of the bound and their sum; compare models, do not read as errors.

    Attributes:
        calibration_error: see `id_calibration_error`.
        sigma_min: see `smallest_singular_value`.
        spread: D / sigma_min; infinite when sigma_min is 0.
        total: calibration_error + spread.
    """

    calibration_error: float
    sigma_min: float
    spread: float
    total: float


@torch.no_grad()
def smallest_singular_value(features_ND: Tensor) -> float:
    """Smallest singular value of the features' correlation matrix, 0 to 1, in float64.

    Each coordinate is standardised by its mean and (population) standard deviation. A constant
    coordinate cannot be; it is taken as 0 throughout, which makes the matrix singular and the
    result 0. So do fewer than D + 1 images, whose centred features do not span D dimensions.

    Raises:
        CalibrationError: not a matrix, no images, no coordinates, or values that are not finite.
    """
    if features_ND.ndim != 2 or 0 in features_ND.shape:
        raise CalibrationError(f"features of shape (N, D), not {tuple(features_ND.shape)}")
    features_ND = features_ND.double()
    if not features_ND.isfinite().all():
        raise CalibrationError("features that are not finite")
    images, width = features_ND.shape
    if images <= width:
        return 0.0
    # To a largest entry of 1 first, so that no square can overflow or vanish.
    largest_D = features_ND.abs().amax(dim=0)
    scaled_ND = features_ND / largest_D.clamp_min(torch.finfo(torch.float64).tiny)
    centred_ND = scaled_ND - scaled_ND.mean(dim=0)
    deviation_D = centred_ND.square().mean(dim=0).sqrt()
    if bool((deviation_D <= CONSTANT).any()):
        return 0.0
    standard_ND = centred_ND / deviation_D
    correlation_DD = standard_ND.t() @ standard_ND / images
    # Symmetric and positive semidefinite: eigenvalues are singular values, but for rounding.
    smallest = float(torch.linalg.eigvalsh(correlation_DD)[0])
    return min(1.0, smallest) if smallest > width * torch.finfo(torch.float64).eps else 0.0


def id_calibration_error(logits_NC: Tensor, labels_N: Tensor) -> float:
    """Squared calibration error E[(h − h0)²] of the top label, 0 to 1, less its sampling bias.

    Estimated in 15 bins of equal mass (Kumar et al. 2019); the theorem is binary, the top label
    stands for its h.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    confidence_N, correct_N = top_label(logits_NC, labels_N)
    bins_N = equal_mass_bins(confidence_N, BINS)
    return BinStatistics.of(confidence_N, correct_N, bins_N, BINS).debiased_error() ** 2


def bound_terms(logits_NC: Tensor, labels_N: Tensor, features_ND: Tensor) -> BoundTerms:
    """The measurable terms on in-distribution data. Read the module's caveat.

    Raises:
        CalibrationError: misshapen, empty or non-finite input.
    """
    if len(features_ND) != len(logits_NC):
        raise CalibrationError(f"{len(logits_NC)} rows of logits, {len(features_ND)} of features")
    error = id_calibration_error(logits_NC, labels_N)
    sigma = smallest_singular_value(features_ND)
    spread = features_ND.shape[1] / sigma if sigma > 0 else math.inf
    return BoundTerms(error, sigma, spread, error + spread)
