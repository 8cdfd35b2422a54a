"""Whether what is predicted today looks like the calibration images: needs no labels.

Drift says that other images come, not that confidences are wrong: a model may stay calibrated on
images that it finds hard. Two figures, each with its chance level:

- Kolmogorov and Smirnov's statistic, the largest distance of the two distribution functions, with
  its asymptotic p value (Kolmogorov's distribution at √(n m / (n + m)) D). Equal values, such as
  confidences rounded to 1, only make the p value larger, never smaller than it should be.
- The population stability index Σ_b (p_b − q_b) ln(p_b / q_b) over bins that hold a tenth of the
  calibration images each. Without drift it is about (1/n + 1/m) χ² with one degree of freedom less
  than there are bins: the customary limits 0.1 and 0.25 mean something else for each n.

Both are for one look. Looked at every minute they alarm sooner or later, unlike the test of
`e_process`. Weights are those of Horvitz and Thompson, 1 / the chance of being logged; then n is
Kish's effective number (Σw)² / Σw², an approximation. Loads no torch. Shape suffixes: N
predictions, M calibration images, B bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import chdtri, kolmogorov

from carot.calibration.metrics.numbers import Numbers
from carot.errors import CalibrationError

BINS = 10
Floats = NDArray[np.float64]


class Drift(Numbers):
    """How far predictions are from the calibration images in one quantity."""

    predictions: int = Field(ge=1)
    calibration_images: int = Field(ge=1)
    ks: float = Field(ge=0, le=1, description="Largest distance of the distribution functions.")
    p_value: float = Field(
        ge=0,
        le=1,
        description="Chance of such a distance without drift, for one look; asymptotic.",
    )
    psi: float = Field(ge=0, description="Population stability index over ten bins.")
    psi_null_p95: float = Field(
        ge=0, description="What it stays below 19 times of 20 without drift; asymptotic."
    )


def confidence_drift(value_N: Floats, weight_N: Floats, reference_M: Floats) -> Drift:
    """Of raw confidences against those of the calibration images.

    Raises:
        CalibrationError: nothing to compare, misshapen or non-finite input, weights of 0 or less.
    """
    _check(value_N, weight_N)
    if reference_M.ndim != 1 or len(reference_M) == 0 or not bool(np.isfinite(reference_M).all()):
        raise CalibrationError("confidences of calibration images are needed, all finite")
    reference_M = np.sort(reference_M)
    points = np.unique(np.concatenate((value_N, reference_M)))
    below = _share_up_to(value_N, weight_N, points)
    reference = np.searchsorted(reference_M, points, side="right") / len(reference_M)
    edges = np.unique(np.quantile(reference_M, np.arange(1, BINS) / BINS, method="lower"))
    # An edge at the highest value would have an empty bin above it.
    edges = edges[edges < reference_M[-1]]
    counted = np.bincount(np.searchsorted(edges, reference_M), minlength=len(edges) + 1)
    return _drift(
        float(np.abs(below - reference).max()),
        _shares(np.searchsorted(edges, value_N), weight_N, len(edges) + 1),
        counted / len(reference_M),
        weight_N,
        len(reference_M),
    )


def shift_drift(percentile_N: Floats, weight_N: Floats, calibration_images: int) -> Drift:
    """Of shift scores, which without drift are uniform but for the calibration images' own noise.

    A percentile counts how many of M calibration images lie nearer: the statistic is that of the
    distances themselves, two samples of which one has M.

    Raises:
        CalibrationError: no calibration images; else see `confidence_drift`.
    """
    _check(percentile_N, weight_N)
    if calibration_images < 1 or not bool(((percentile_N >= 0) & (percentile_N <= 1)).all()):
        raise CalibrationError("percentiles from 0 to 1 of some calibration images are needed")
    nearer_N = np.rint(percentile_N * calibration_images)
    k_M = np.arange(calibration_images, dtype=np.float64)
    below_M = _share_up_to(nearer_N, weight_N, k_M)
    # Just before the (k + 1)-th calibration image, and at it.
    before_M = np.abs(below_M - k_M / calibration_images)
    at_M = np.abs(below_M - (k_M + 1) / calibration_images)
    bins = min(BINS, calibration_images + 1)
    # M images divide the line in M + 1 parts, equally likely.
    bin_N = (nearer_N * bins / (calibration_images + 1)).astype(np.int64)
    parts = np.arange(calibration_images + 1) * bins // (calibration_images + 1)
    return _drift(
        float(np.maximum(before_M, at_M).max()),
        _shares(bin_N, weight_N, bins),
        np.bincount(parts, minlength=bins) / (calibration_images + 1),
        weight_N,
        calibration_images,
    )


def effective_number(weight_N: Floats) -> float:
    """Kish's: as many images of equal weight would tell as much."""
    # Of a common factor nothing is left; equal weights give their number exactly.
    weight_N = weight_N / weight_N.max()
    return float(weight_N.sum() ** 2 / (weight_N**2).sum())


def _drift(ks: float, share_B: Floats, expected_B: Floats, weight_N: Floats, images: int) -> Drift:
    effective = effective_number(weight_N)
    # Half an image more in every bin: the index of an empty one would be infinite.
    p_B = (share_B * effective + 0.5) / (effective + 0.5 * len(share_B))
    q_B = (expected_B * images + 0.5) / (images + 0.5 * len(share_B))
    psi = float(((p_B - q_B) * np.log(p_B / q_B)).sum())
    degrees = len(share_B) - 1
    quantile = float(chdtri(degrees, 0.05)) if degrees else 0.0
    return Drift(
        predictions=len(weight_N),
        calibration_images=images,
        ks=min(1.0, ks),
        p_value=float(kolmogorov(np.sqrt(effective * images / (effective + images)) * ks)),
        psi=max(0.0, psi),
        psi_null_p95=quantile * (1 / effective + 1 / images),
    )


def _share_up_to(value_N: Floats, weight_N: Floats, points: Floats) -> Floats:
    order_N = np.argsort(value_N, kind="stable")
    total = np.concatenate(([0.0], np.cumsum(weight_N[order_N])))
    upto: Floats = total[np.searchsorted(value_N[order_N], points, side="right")] / total[-1]
    return upto


def _shares(bin_N: NDArray[np.int64], weight_N: Floats, bins: int) -> Floats:
    share_B: Floats = np.bincount(bin_N, weight_N, minlength=bins) / weight_N.sum()
    return share_B


def _check(value_N: Floats, weight_N: Floats) -> None:
    if value_N.ndim != 1 or value_N.shape != weight_N.shape or len(value_N) == 0:
        raise CalibrationError(
            f"N values and N weights are needed, not {value_N.shape} and {weight_N.shape}"
        )
    if not bool(np.isfinite(value_N).all()):
        raise CalibrationError("values that are not finite")
    if not bool((np.isfinite(weight_N) & (weight_N > 0)).all()):
        raise CalibrationError("weights are finite and above 0")
