"""One temperature for all logits, fitted exactly.

f(b) = mean_i [logsumexp(b z_i) − b z_iy] is convex in b = 1/T (Guo et al. 2017 for the method).
Newton's method, kept inside a bracket on the sign of f', finds its minimum; sums are float64.
Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from carot.calibration.calibrator import Calibrator, label_set_hash
from carot.calibration.inputs import check, chunks
from carot.errors import CalibrationError

__all__ = ["Calibrator", "fit_temperature", "label_set_hash", "typical_spread"]

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the temperature in units of the logits' `typical_spread`, so that logits in any unit,
raw cosines among them, are fitted alike. At 20 the probabilities are all but uniform; below 0.05
they would promise fewer than one error in e²⁰ answers, which no calibration split can show."""

STEP_TOLERANCE = 1e-6
MAX_ITERATIONS = 100


@torch.no_grad()
def fit_temperature(
    logits_NC: Tensor,
    labels_N: Tensor,
    *,
    logit_scale: float = 1.0,
    classes: Sequence[str] = (),
    split: str = "calibration",
) -> Calibrator:
    """The temperature that minimises the negative log-likelihood of `labels_N`.

    Logits times a factor give the temperature times that factor. The temperature is 1 where no
    other has a lower loss.

    Args:
        logits_NC: finite logits as the classifier serves them.
        labels_N: class indices.
        logit_scale: exp(s) that is already in the logits; kept with the result, as it says in
            which unit the temperature is.
        classes: names of the label set, kept as a hash.
        split: where the images come from, kept.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    # In units of the spread, and with 1 / temperature as `beta` there, all searches look alike.
    spread = typical_spread(logits_NC)
    rows = _Rows(logits_NC, labels_N, spread)
    before = rows.at(spread).nll
    found = _minimise(rows)
    better = found.nll < before
    return Calibrator(
        temperature=spread / found.beta if better else 1.0,
        split=split,
        n=len(labels_N),
        logit_scale=logit_scale,
        label_set_hash=label_set_hash(classes),
        nll_before=before,
        nll_after=found.nll if better else before,
        converged=found.converged,
        at_bound=found.at_bound,
    )


def typical_spread(logits_NC: Tensor) -> float:
    """Median over the images of the standard deviation of an image's logits, above 0.

    Images whose logits are all equal do not count; 1 when there are no others.
    """
    spread_N = logits_NC.detach().double().std(dim=1, correction=0)
    spread_N = spread_N[spread_N > 0]
    return float(spread_N.median()) if len(spread_N) else 1.0


class _Point(NamedTuple):
    """f at one b: the mean negative log-likelihood in nats, f' and f''."""

    nll: float
    slope: float
    curvature: float


class _Rows:
    """Sums over all rows, in float64 and chunk by chunk, with logits in units of `unit`."""

    def __init__(self, logits_NC: Tensor, labels_N: Tensor, unit: float) -> None:
        self.logits_NC = logits_NC
        self.labels_N = labels_N
        self.unit = unit

    def at(self, beta: float) -> _Point:
        """Means over the rows; those of E_p[z] − z_y and of Var_p[z] are f' and f''."""
        nll = slope = curvature = 0.0
        for logits_NC, labels_N in chunks(self.logits_NC, self.labels_N):
            # Less the row's maximum, which changes no term and keeps exp() within range.
            z_NC = (logits_NC - logits_NC.amax(dim=1, keepdim=True)) / self.unit
            target_N = z_NC.gather(1, labels_N[:, None]).squeeze(1)
            power_NC = (beta * z_NC).exp_()
            total_N = power_NC.sum(dim=1)
            mean_N = power_NC.mul_(z_NC).sum(dim=1) / total_N
            square_N = power_NC.mul_(z_NC).sum(dim=1) / total_N
            nll += float((total_N.log() - beta * target_N).sum())
            slope += float((mean_N - target_N).sum())
            curvature += float((square_N - mean_N.square()).sum())
        if not math.isfinite(nll):
            raise CalibrationError("the likelihood of the calibration split is not a finite number")
        images = len(self.labels_N)
        return _Point(nll / images, slope / images, curvature / images)


class _Found(NamedTuple):
    beta: float
    nll: float
    converged: bool
    at_bound: bool


def _minimise(rows: _Rows) -> _Found:
    """Newton's method on b or on log b, each from the side where it does not overshoot far."""
    start, end = -math.log(HIGHEST), -math.log(LOWEST)
    # The minimum of f over u = log b lies between `low` and `high`, points tried before. Both begin
    # outside the bounds, which thereby can be tried themselves.
    low, high = start - 1.0, end + 1.0
    u = 0.0
    for _ in range(MAX_ITERATIONS):
        beta = math.exp(u)
        nll, slope, curvature = rows.at(beta)
        if curvature <= 0.0:
            # All logits of each image are equal: any temperature does.
            return _Found(beta, nll, True, True)
        if slope < 0:
            step = math.log1p(-slope / (beta * curvature))
        else:
            step = -slope / (beta * curvature + slope)
        if abs(step) < STEP_TOLERANCE:
            # Convergence is quadratic: behind this last step nothing is left to gain.
            return _Found(math.exp(u + step), nll, True, False)
        aim = _within(start, u + step, end)
        if aim == u:
            return _Found(beta, nll, True, True)
        low, high = (low, u) if slope > 0 else (u, high)
        u = aim if low < aim < high else _within(start, (low + high) / 2, end)
    return _Found(beta, nll, False, False)


def _within(low: float, value: float, high: float) -> float:
    return min(max(low, value), high)
