"""One temperature for all logits, fitted exactly.

f(b) = mean_i [logsumexp(b z_i) − b z_iy] is convex in b = 1/T (Guo et al. 2017 for the method).
Newton's method, kept inside a bracket on the sign of f', finds its minimum; sums are float64. A
large set is searched in a thinned one first, so that few steps go through all of it.
Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.calibrators.rows import Rows
from carot.calibration.metrics.inputs import check, slices
from carot.errors import CalibrationError

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the temperature in units of the logits' `typical_spread`, so that logits in any unit,
raw cosines among them, are fitted alike. At 20 the probabilities are all but uniform; below 0.05
they would claim fewer than one error in e²⁰ answers, which no calibration split can show."""

MASKED = 3.0
"""See `unmasked_spread`: masks that are nearer move no bound by as much as they are wide."""

STEP_TOLERANCE = 1e-6
MAX_ITERATIONS = 100
THINNED = 4096
"""Images that place the search to a few percent; sets of twice as many are thinned first."""


@torch.no_grad()
def fit_temperature(
    logits_NC: Tensor, labels_N: Tensor, **origin: Unpack[Origin]
) -> TemperatureCalibrator:
    """The temperature that minimises the negative log-likelihood of `labels_N`.

    Logits times a factor give the temperature times that factor. The temperature is 1 where no
    other has a lower loss.

    Args:
        logits_NC: finite logits as the classifier serves them.
        labels_N: class indices.
        origin: see `Origin`.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    return fit_to_parts([(logits_NC, labels_N)], "temperature", origin)


@torch.no_grad()
def fit_to_parts(
    parts: Sequence[tuple[Tensor, Tensor]],
    kind: Literal["temperature", "perturbed_temperature"],
    origin: Origin,
) -> TemperatureCalibrator:
    """The same for several sets of logits and labels taken together; `n` is that of the first."""
    for logits_NC, labels_N in parts:
        check(logits_NC, labels_N)
    # In units of the spread, and with 1 / temperature as `beta` there, all searches look alike.
    spread = unmasked_spread(parts)
    rows = Rows.of(parts, spread)
    before = likelihood(rows, spread).nll
    thin = rows.images >= 2 * THINNED
    start = math.log(_minimise(rows.thinned(THINNED)).beta) if thin else 0.0
    found = _minimise(rows, start)
    better = found.nll < before
    return TemperatureCalibrator(
        kind=kind,
        temperature=spread / found.beta if better else 1.0,
        n=len(parts[0][1]),
        nll_before=before,
        nll_after=found.nll if better else before,
        converged=found.converged,
        at_bound=found.at_bound,
        **origin_fields(origin),
    )


@torch.no_grad()
def unmasked_spread(parts: Sequence[tuple[Tensor, Tensor]]) -> float:
    """`typical_spread` without the classes that are masked by logits far below all others.

    A class is masked if no image has its label, and in all images its logit is farther from the
    top than `MASKED` times the typical range of the classes that do occur: -1000 among logits of
    -10 to 10, or a dtype's lowest number. Where there are none, it is `typical_spread`.

    Args:
        parts: logits (N, C) and labels (N) of one or more sets of images.
    """
    step = max(1, sum(len(labels_N) for _, labels_N in parts) // THINNED)
    few_NC = torch.cat([logits_NC[::step].double() for logits_NC, _ in parts])
    occurs_C = torch.zeros(few_NC.shape[1], dtype=torch.bool, device=few_NC.device)
    for _, labels_N in parts:
        occurs_C[labels_N.long()] = True
    if int(occurs_C.sum()) >= 2:
        seen_NC = few_NC[:, occurs_C]
        limit = MASKED * float((seen_NC.amax(dim=1) - seen_NC.amin(dim=1)).median())
        nearest_C = (few_NC.amax(dim=1, keepdim=True) - few_NC).amin(dim=0)
        kept_C = occurs_C | (nearest_C <= limit)
        if not bool(kept_C.all()):
            return typical_spread(*(logits_NC[:, kept_C] for logits_NC, _ in parts))
    return typical_spread(*(logits_NC for logits_NC, _ in parts))


@torch.no_grad()
def typical_spread(*logits: Tensor) -> float:
    """Median over the images of the standard deviation of an image's logits, above 0.

    Images whose logits are all equal do not count; 1 when there are no others.
    """
    parts = []
    for logits_NC in logits:
        spread_N = torch.empty(len(logits_NC), dtype=torch.float64, device=logits_NC.device)
        for part in slices(logits_NC):
            spread_N[part] = logits_NC[part].double().std(dim=1, correction=0)
        parts.append(spread_N)
    spread_N = torch.cat(parts)
    spread_N = spread_N[spread_N > 0]
    return float(spread_N.median()) if len(spread_N) else 1.0


class Point(NamedTuple):
    """f at one b: the mean negative log-likelihood in nats, f' and f''."""

    nll: float
    slope: float
    curvature: float


def likelihood(rows: Rows, beta: float) -> Point:
    """Means over the rows; those of E_p[z] − z_y and of Var_p[z] are f' and f''.

    Raises:
        CalibrationError: the likelihood is not finite.
    """
    nll = slope = curvature = 0.0
    for logits_NC, power_NC, labels_N, _ in rows:
        target_N = logits_NC.gather(1, labels_N[:, None]).squeeze(1)
        torch.mul(logits_NC, beta, out=power_NC).exp_()
        total_N = power_NC.sum(dim=1)
        mean_N = power_NC.mul_(logits_NC).sum(dim=1) / total_N
        square_N = power_NC.mul_(logits_NC).sum(dim=1) / total_N
        nll += float((total_N.log() - beta * target_N).sum())
        slope += float((mean_N - target_N).sum())
        curvature += float((square_N - mean_N.square()).sum())
    if not math.isfinite(nll):
        raise CalibrationError("the likelihood of the calibration split is not a finite number")
    return Point(nll / rows.images, slope / rows.images, curvature / rows.images)


class _Found(NamedTuple):
    beta: float
    nll: float
    converged: bool
    at_bound: bool


def _minimise(rows: Rows, u: float = 0.0) -> _Found:
    """Newton's method on b or on log b = `u`, each from the side where it does not overshoot far.

    `u` is where it starts.
    """
    start, end = -math.log(HIGHEST), -math.log(LOWEST)
    # The minimum of f over u lies between `low` and `high`, points tried before. Both begin
    # outside the bounds, which thereby can be tried themselves.
    low, high = start - 1.0, end + 1.0
    for _ in range(MAX_ITERATIONS):
        beta = math.exp(u)
        nll, slope, curvature = likelihood(rows, beta)
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
