"""A temperature fitted to what is shown: the confidence of the top class against right or wrong.

Le Coz et al. 2024 (arXiv 2411.02988): of all classes only the top one counts, and the loss is the
binary cross-entropy of its confidence c and whether it is right. With L(b) = log((1 − c) / c) =
log Σ_k exp(b (z_k − z_top)) over the other classes, b = 1/T, an image adds log(1 + exp(±L)), plus
where it is right. This is not convex in b: a grid finds the lowest valley, the sign of the slope
its bottom. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Unpack

import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor

from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.calibrators.rows import Rows
from carot.calibration.calibrators.temperature import HIGHEST, LOWEST, THINNED, unmasked_spread
from carot.calibration.metrics.inputs import check
from carot.calibration.metrics.likelihood import (
    negative_log_likelihood,
    raw_negative_log_likelihood,
)

GRID = 48
"""Cells of the grid over log b; one is an eighth wide."""
SLOPE_TOLERANCE = 1e-10
TOLERANCE = 1e-13
"""Of log b."""


@torch.no_grad()
def fit_top_versus_all(
    logits_NC: Tensor, labels_N: Tensor, **origin: Unpack[Origin]
) -> TemperatureCalibrator:
    """The temperature whose confidences tell right from wrong best, within `LOWEST`, `HIGHEST`.

    The likelihoods kept with it are those of the labels, as for every calibrator: they compare it
    with others, and it may raise them.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    spread = unmasked_spread([(logits_NC, labels_N)])
    rows = Rows.of([(logits_NC, labels_N)], spread, with_top=True)
    log_beta, at_bound, converged = _lowest_valley(rows)
    fitted = TemperatureCalibrator(
        kind="top_versus_all",
        temperature=spread / math.exp(log_beta),
        n=len(labels_N),
        nll_before=float(raw_negative_log_likelihood(logits_NC, labels_N).mean()),
        nll_after=0.0,
        converged=converged,
        at_bound=at_bound,
        **origin_fields(origin),
    )
    after = float(negative_log_likelihood(fitted, logits_NC, labels_N).mean())
    return fitted.model_copy(update={"nll_after": after})


class TopPoint(NamedTuple):
    """The mean binary cross-entropy at one b, in nats, and its derivative by log b."""

    loss: float
    slope: float


def top_loss(rows: Rows, beta: float) -> TopPoint:
    """Mean over rows that know their top class."""
    loss = slope = 0.0
    for logits_NC, power_NC, labels_N, top_N in rows:
        assert top_N is not None
        wrong_N = top_N != labels_N
        # Of the others alone, minus their own maximum: 1 − c stays exact as c comes near 1.
        place_N1 = top_N[:, None]
        second_N = logits_NC.scatter_(1, place_N1, -torch.inf).amax(dim=1)
        torch.sub(logits_NC, second_N[:, None], out=power_NC).mul_(beta).exp_()
        total_N = power_NC.sum(dim=1)
        mean_N = power_NC.mul_(logits_NC.scatter_(1, place_N1, 0.0)).sum(dim=1) / total_N
        odds_N = beta * second_N + total_N.log()
        signed_N = torch.where(wrong_N, -odds_N, odds_N)
        loss += float(F.softplus(signed_N).sum())
        # dL / d log b is b times the mean of z − z_top over the others.
        slope_N = beta * mean_N * torch.where(wrong_N, -1.0, 1.0)
        slope += float((signed_N.sigmoid() * slope_N).sum())
    return TopPoint(loss / rows.images, slope / rows.images)


def _lowest_valley(rows: Rows) -> tuple[float, bool, bool]:
    """Log b there, whether it is a bound, and whether the slope is 0 or points beyond the bound."""
    start, end = -math.log(HIGHEST), -math.log(LOWEST)
    grid = [start + (end - start) * cell / GRID for cell in range(GRID + 1)]
    thin = rows.thinned(THINNED) if rows.images >= 2 * THINNED else rows
    losses = [top_loss(thin, math.exp(u)).loss for u in grid]
    best = losses.index(min(losses))
    if max(losses) - min(losses) <= 1e-12:
        # All logits of each image are equal: any temperature does.
        return 0.0, True, True
    slopes: dict[float, float] = {}

    def falling(u: float) -> float:
        if u not in slopes:
            slopes[u] = -top_loss(rows, math.exp(u)).slope
        return slopes[u]

    low, high = max(0, best - 1), min(GRID, best + 1)
    # The bottom in all rows may lie beside that in the thinned ones.
    while falling(grid[low]) < 0 and low > 0:
        low, high = low - 1, low
    while falling(grid[high]) > 0 and high < GRID:
        low, high = high, high + 1
    if falling(grid[low]) <= 0:
        u = grid[low]
    elif falling(grid[high]) >= 0:
        u = grid[high]
    else:
        u = float(brentq(falling, grid[low], grid[high], xtol=TOLERANCE))
    at_bound = u in (grid[0], grid[-1])
    return u, at_bound, at_bound or abs(falling(u)) <= SLOPE_TOLERANCE
