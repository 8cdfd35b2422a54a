"""Ensemble temperature scaling (Zhang et al. 2020, arXiv 2003.07329).

A weighted mean of softmax(z / T), softmax(z) and the uniform distribution. As there, T is the
temperature that is best alone, and the weights are the most likely ones given T; all parts rank the
classes alike, so the ranking stays. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import MixtureCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.calibrators.simplex import best_weights
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.likelihood import (
    negative_log_likelihood,
    raw_negative_log_likelihood,
)


@torch.no_grad()
def fit_ensemble_temperature(
    logits_NC: Tensor, labels_N: Tensor, **origin: Unpack[Origin]
) -> MixtureCalibrator:
    """Temperature and weights; never less likely than the temperature alone.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    plain = fit_temperature(logits_NC, labels_N)
    raw_N = raw_negative_log_likelihood(logits_NC, labels_N)
    tempered_N = negative_log_likelihood(plain, logits_NC, labels_N)
    uniform_N = torch.full_like(raw_N, math.log(logits_NC.shape[1]))
    weights, best = best_weights(-torch.stack((tempered_N, raw_N, uniform_N), dim=1))
    fitted = MixtureCalibrator(
        kind="ensemble_temperature",
        temperature=plain.temperature,
        tempered_weight=weights[0],
        raw_weight=weights[1],
        uniform_weight=weights[2],
        n=plain.n,
        nll_before=plain.nll_before,
        nll_after=0.0,
        converged=plain.converged and best,
        at_bound=plain.at_bound,
        **origin_fields(origin),
    )
    after = float(negative_log_likelihood(fitted, logits_NC, labels_N).mean())
    return fitted.model_copy(update={"nll_after": after})
