"""One temperature for all logits, fitted exactly.

f(b) = mean_i [logsumexp(b z_i) − b z_iy] is convex in b = 1/T (Guo et al. 2017 for the method).
Newton's method on log b, kept inside a bracket on the sign of f', finds its minimum; sums are
float64. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from carot.calibration.calibrator import Calibrator, label_set_hash
from carot.calibration.inputs import check
from carot.errors import CalibrationError

__all__ = ["Calibrator", "fit_temperature", "label_set_hash", "typical_spread"]

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of the temperature in units of the logits' `typical_spread`, so that logits in any unit,
raw cosines among them, are fitted alike. At 20 the probabilities are all but uniform; below 0.05
they would promise fewer than one error in e²⁰ answers, which no calibration split can show."""

STEP_TOLERANCE = 1e-10
MAX_ITERATIONS = 100
CHUNK_ROWS = 4096


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
    before = rows.nll(spread)
    beta, converged, at_bound = _minimise(rows)
    temperature, after = spread / beta, rows.nll(beta)
    if not after < before:
        temperature, after = 1.0, before
    return Calibrator(
        temperature=temperature,
        split=split,
        n=len(labels_N),
        logit_scale=logit_scale,
        label_set_hash=label_set_hash(classes),
        nll_before=before,
        nll_after=after,
        converged=converged,
        at_bound=at_bound,
    )


def typical_spread(logits_NC: Tensor) -> float:
    """Median over the images of the standard deviation of an image's logits, above 0.

    Images whose logits are all equal do not count; 1 when there are no others.
    """
    parts = logits_NC.detach().split(CHUNK_ROWS)
    spread_N = torch.cat([part.double().std(dim=1, correction=0) for part in parts])
    spread_N = spread_N[spread_N > 0]
    return float(spread_N.median()) if len(spread_N) else 1.0


class _Rows:
    """Sums over all rows, in float64 and chunk by chunk.

    Rows are centred on their maximum and divided by `unit`.
    """

    def __init__(self, logits_NC: Tensor, labels_N: Tensor, unit: float) -> None:
        self.logits_NC = logits_NC
        self.labels_N = labels_N.long()
        self.unit = unit

    def nll(self, beta: float) -> float:
        """f(b), the mean negative log-likelihood in nats."""
        total = 0.0
        for z_NC, target_N in self._chunks():
            total += float(((beta * z_NC).logsumexp(dim=1) - beta * target_N).sum())
        if not math.isfinite(total):
            raise CalibrationError("the likelihood of the calibration split is not a finite number")
        return total / len(self.labels_N)

    def slopes(self, beta: float) -> tuple[float, float]:
        """First and second derivative of f: the means of E_p[z] − z_y and of Var_p[z]."""
        first = second = 0.0
        for z_NC, target_N in self._chunks():
            probabilities_NC = (beta * z_NC).softmax(dim=1)
            mean_N = (probabilities_NC * z_NC).sum(dim=1)
            spread_NC = (z_NC - mean_N[:, None]).square()
            first += float((mean_N - target_N).sum())
            second += float((probabilities_NC * spread_NC).sum())
        return first / len(self.labels_N), second / len(self.labels_N)

    def _chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self.labels_N), CHUNK_ROWS):
            z_NC = self.logits_NC[start : start + CHUNK_ROWS].double()
            z_NC = (z_NC - z_NC.amax(dim=1, keepdim=True)) / self.unit
            labels_N = self.labels_N[start : start + CHUNK_ROWS]
            yield z_NC, z_NC.gather(1, labels_N[:, None]).squeeze(1)


def _minimise(rows: _Rows) -> tuple[float, bool, bool]:
    """The best b within the bounds, whether the search got there, and whether that is a bound."""
    low, high = math.log(1.0 / HIGHEST), math.log(1.0 / LOWEST)
    # The slope's sign at the ends says whether the minimum lies between them.
    if rows.slopes(math.exp(low))[0] >= 0:
        return math.exp(low), True, True
    if rows.slopes(math.exp(high))[0] <= 0:
        return math.exp(high), True, True
    position = 0.0
    for _ in range(MAX_ITERATIONS):
        beta = math.exp(position)
        slope, curvature = rows.slopes(beta)
        # In u = log b: f' = b f_b, f'' = b² f_bb + b f_b.
        second = beta * beta * curvature + beta * slope
        step = -beta * slope / second if second > 0 else math.inf
        # Looked at before the bracket moves up to here, which would hide that this is the end.
        if abs(step) < STEP_TOLERANCE:
            return beta, True, False
        if slope > 0:
            high = position
        else:
            low = position
        following = position + step
        if not low < following < high:
            following = (low + high) / 2
        position = following
    return math.exp(position), False, False
