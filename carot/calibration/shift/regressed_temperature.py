"""Multi-domain temperature scaling: a temperature for each image, from its features.

Yu et al. 2022 (NeurIPS, arXiv 2206.02757). Each of several labelled domains k gets its own
temperature T_k; a linear regression then tells from an image's features φ which it should have:

    θ = argmin Σ_k Σ_i (⟨φ(x_ki), θ⟩ + θ₀ − T_k)²        T(x) = ⟨φ(x), θ⟩ + θ₀

There are no constants. Ours: temperatures stay between the lowest and the highest T_k, as a
regression far from what it has seen may even come below 0. Where images are, by name, of a domain
that is known, see `carot.calibration.calibrators.domain_temperature`.
Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from carot.calibration.calibrators.temperature import fit_temperature
from carot.errors import CalibrationError


class Domain(NamedTuple):
    """Labelled images of one domain: logits (N, C), class indices (N), features (N, D)."""

    logits_NC: Tensor
    labels_N: Tensor
    features_ND: Tensor


@dataclass(frozen=True)
class RegressedTemperature:
    """θ, θ₀ and the temperatures of the domains.

    Attributes:
        weight_D: θ, float64.
        domains: T_k, in the order of the domains.
    """

    weight_D: Tensor
    intercept: float
    domains: tuple[float, ...]

    def temperatures(self, features_ND: Tensor) -> Tensor:
        """T of each image, float64, (N).

        Raises:
            CalibrationError: features of another width.
        """
        if features_ND.ndim != 2 or features_ND.shape[1] != len(self.weight_D):
            raise CalibrationError(
                f"features of shape (N, {len(self.weight_D)}), not {tuple(features_ND.shape)}"
            )
        found_N = features_ND.double() @ self.weight_D + self.intercept
        return found_N.clamp(min(self.domains), max(self.domains))

    def apply(self, logits_NC: Tensor, features_ND: Tensor) -> Tensor:
        """Logits over the temperature of each image, float64."""
        return logits_NC.double() / self.temperatures(features_ND)[:, None]


@torch.no_grad()
def fit_regressed_temperature(domains: Sequence[Domain]) -> RegressedTemperature:
    """Temperatures of the domains, and the regression of them on features.

    Where features depend on each other, of all θ that do as well the shortest is taken.

    Raises:
        CalibrationError: fewer than two domains, features that do not fit; empty, misshapen or
            non-finite input, labels out of range.
    """
    if len(domains) < 2:
        raise CalibrationError(f"two domains or more are needed, not {len(domains)}")
    width = domains[0].features_ND.shape[-1]
    for each in domains:
        if each.features_ND.shape != (len(each.labels_N), width):
            raise CalibrationError(f"features of every image are needed, {width} of each")
    found = [fit_temperature(each.logits_NC, each.labels_N).temperature for each in domains]
    features_ND = torch.cat([each.features_ND for each in domains]).double().cpu()
    if not bool(features_ND.isfinite().all()):
        raise CalibrationError("features must be finite numbers")
    counts = torch.tensor([len(each.labels_N) for each in domains])
    aim_N = torch.tensor(found, dtype=torch.float64).repeat_interleave(counts)
    # Centred, the intercept is the mean and takes no part in which θ is the shortest.
    centre_D, centre = features_ND.mean(dim=0), float(aim_N.mean())
    solved = torch.linalg.lstsq(
        features_ND - centre_D, (aim_N - centre)[:, None], driver="gelsd"
    ).solution
    weight_D = solved[:, 0].to(domains[0].features_ND.device)
    return RegressedTemperature(weight_D, centre - float(centre_D @ solved[:, 0]), tuple(found))
