"""A temperature for small splits: what n images cannot exclude keeps a share of 1 / (n + 1).

After the temperature is fitted, its probabilities are mixed with the uniform distribution as if one
more image had been seen, with a label of any class: Laplace's rule (`ts-mix` in Berta et al. 2025,
arXiv 2501.19195). Where all answers are right, the temperature alone would be overconfident.
Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import MixtureCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.likelihood import negative_log_likelihood


@torch.no_grad()
def fit_smoothed_temperature(
    logits_NC: Tensor, labels_N: Tensor, **origin: Unpack[Origin]
) -> MixtureCalibrator:
    """The exact temperature, then n parts of it to one part of the uniform distribution.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    plain = fit_temperature(logits_NC, labels_N)
    fitted = MixtureCalibrator(
        kind="smoothed_temperature",
        temperature=plain.temperature,
        tempered_weight=plain.n / (plain.n + 1),
        raw_weight=0.0,
        uniform_weight=1 / (plain.n + 1),
        n=plain.n,
        nll_before=plain.nll_before,
        nll_after=0.0,
        converged=plain.converged,
        at_bound=plain.at_bound,
        **origin_fields(origin),
    )
    after = float(negative_log_likelihood(fitted, logits_NC, labels_N).mean())
    return fitted.model_copy(update={"nll_after": after})
