"""Smooth ECE: a calibration error without bins (Błasiok and Nakkiran 2023, arXiv 2309.12236).

The residuals o − c, each at its confidence c, are smoothed by a Gaussian of deviation σ that is
reflected at 0 and 1, so that no mass leaves [0, 1]:

    smECE_σ = ∫₀¹ |1/N Σ_i K_σ(t, c_i) (o_i − c_i)| dt

It falls as σ grows. The value reported is the σ at which smECE_σ = σ.
Shape suffixes: N images, G grid points, P points of the circle, F frequencies.
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import brentq
from torch import Tensor

from carot.calibration.metrics.inputs import check_confidences

CELLS = 2048
TOLERANCE = 1e-12


@torch.no_grad()
def smooth_ece(confidence_N: Tensor, correct_N: Tensor, cells: int = CELLS) -> float:
    """Smooth ECE of the top label at its fixed point, 0 to 1.

    O(N + cells log cells): residuals are put on a grid. What the grid changes is of order
    (1 / cells)² / σ² of the value.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, confidences outside 0 to 1.
    """
    check_confidences(confidence_N, correct_N)
    smoothed = _Smoothed(residuals_on_grid(confidence_N, correct_N, cells))
    # The smoothed error is 1 at most; rounding may say more.
    return float(
        brentq(lambda sigma: min(1.0, smoothed.error(sigma)) - sigma, 0.0, 1.0, xtol=TOLERANCE)
    )


def residuals_on_grid(confidence_N: Tensor, correct_N: Tensor, cells: int) -> Tensor:
    """Residuals o − c over N, each shared by its two nearest points of 0, 1/cells, …, 1."""
    place_N = confidence_N.double() * cells
    left_N = place_N.long().clamp_max(cells - 1)
    residual_N = (correct_N.double() - confidence_N.double()) / len(confidence_N)
    right_N = (place_N - left_N) * residual_N
    mass_G = torch.bincount(left_N, residual_N - right_N, minlength=cells + 1)
    return mass_G + torch.bincount(left_N + 1, right_N, minlength=cells + 1)


class _Smoothed:
    """Residuals on a grid, ready to be smoothed with any σ.

    Reflected at 0 and at 1, [0, 1] unrolls to a circle of length 2. A point within gives two
    images there. At 0 and at 1 they meet: the mass of these points counts twice.
    """

    def __init__(self, mass_G: Tensor) -> None:
        self.cells = len(mass_G) - 1
        circle_P = torch.cat((mass_G, mass_G[1:-1].flip(0)))
        circle_P[0] *= 2
        circle_P[self.cells] *= 2
        self.spectrum_F = torch.fft.rfft(circle_P) * self.cells
        turn_F = torch.arange(self.cells + 1, dtype=torch.float64, device=mass_G.device)
        # The Gaussian of a grid: of variance σ² exactly, nowhere below 0 however small σ is (a
        # sampled Fourier transform rings there), and the usual one where σ is many cells.
        self.exponent_F = ((turn_F * (math.pi / self.cells)).cos() - 1) * self.cells**2

    def error(self, sigma: float) -> float:
        """smECE_σ, by the trapezoidal rule."""
        damped_F = self.spectrum_F * (self.exponent_F * sigma**2).exp()
        density_G = torch.fft.irfft(damped_F, 2 * self.cells)[: self.cells + 1].abs()
        ends = float(density_G[0] + density_G[-1]) / 2
        return (float(density_G.sum()) - ends) / self.cells
