"""The weights of a mixture that make what was seen most likely.

f(w) = −mean_i log Σ_j w_j q_ij is convex over weights w ≥ 0 that sum to one. Each step goes to the
minimum of its quadratic model over that simplex, found exactly by trying every face of it.
Shape suffixes: N images, K components.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

GAP = 1e-9
MAX_ITERATIONS = 200
RIDGE = 1e-12


def best_weights(log_likelihood_NK: Tensor) -> tuple[tuple[float, ...], bool]:
    """Weights of K components, few, and whether they are proved to be best.

    At the best weights, mean_i q_ij / m_i is 1 for the components in use and less for the others,
    m being the mixture; by convexity f is above its minimum by at most the largest of these less 1.

    Args:
        log_likelihood_NK: log q, of each image's label under each component, float64.
    """
    # A factor of a row's own changes nothing but the size of f.
    likelihood_NK = (log_likelihood_NK - log_likelihood_NK.amax(dim=1, keepdim=True)).exp()
    components = likelihood_NK.shape[1]
    weights_K = likelihood_NK.new_full((components,), 1 / components)
    for _ in range(MAX_ITERATIONS):
        ratio_NK = likelihood_NK / (likelihood_NK @ weights_K)[:, None]
        slope_K = -ratio_NK.mean(dim=0)
        if float(-slope_K.amin()) - 1 <= GAP:
            return tuple(weights_K.tolist()), True
        curvature_KK = ratio_NK.t() @ ratio_NK / len(ratio_NK)
        step_K = _aim(weights_K, slope_K, curvature_KK) - weights_K
        size = _step_size(likelihood_NK, weights_K, step_K, float(slope_K @ step_K))
        if size == 0.0:
            break
        weights_K = (weights_K + size * step_K).clamp_min(0.0)
        weights_K = weights_K / weights_K.sum()
    return tuple(weights_K.tolist()), False


def _aim(weights_K: Tensor, slope_K: Tensor, curvature_KK: Tensor) -> Tensor:
    """Where slope·(v − w) + (v − w)ᵀ curvature (v − w) / 2 is smallest over the simplex."""
    count = len(weights_K)
    # Components that are alike leave the model flat in between: a trifle of a ridge decides.
    ridge_K = RIDGE * curvature_KK.diagonal().mean()
    curvature_KK = curvature_KK + ridge_K * torch.eye(count).to(curvature_KK)
    pull_K = curvature_KK @ weights_K - slope_K
    best_K, lowest = weights_K, math.inf
    for size in range(1, count + 1):
        for face in itertools.combinations(range(count), size):
            aim_K = _on_face(torch.tensor(face, device=weights_K.device), pull_K, curvature_KK)
            if bool((aim_K < 0).any()):
                continue
            way_K = aim_K - weights_K
            value = float(slope_K @ way_K + way_K @ curvature_KK @ way_K / 2)
            if value < lowest:
                best_K, lowest = aim_K, value
    return best_K


def _on_face(face_F: Tensor, pull_K: Tensor, curvature_KK: Tensor) -> Tensor:
    """The same with weights on `face_F` alone, of any sign, that sum to one (Lagrange)."""
    size = len(face_F)
    system = curvature_KK.new_ones(size + 1, size + 1)
    system[:size, :size] = curvature_KK[face_F][:, face_F]
    system[size, size] = 0.0
    right = pull_K.new_ones(size + 1)
    right[:size] = pull_K[face_F]
    return torch.zeros_like(pull_K).index_copy(0, face_F, torch.linalg.solve(system, right)[:size])


def _step_size(likelihood_NK: Tensor, weights_K: Tensor, step_K: Tensor, fall: float) -> float:
    """The first of 1, 1/2, 1/4 … that lowers f by a ten-thousandth of what the slope predicts."""
    before = (likelihood_NK @ weights_K).log()
    size = 1.0
    for _ in range(60):
        after = (likelihood_NK @ (weights_K + size * step_K).clamp_min(0.0)).log()
        if float((after - before).mean()) >= -1e-4 * size * fall:
            return size
        size /= 2
    return 0.0
