"""No calibrator, as one: the temperature 1, which leaves confidences raw."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.metrics.inputs import check
from carot.calibration.metrics.likelihood import raw_negative_log_likelihood


@torch.no_grad()
def no_calibrator(
    logits_NC: Tensor, labels_N: Tensor, **origin: Unpack[Origin]
) -> TemperatureCalibrator:
    """What serves raw confidences and still says what the calibration images show of them.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    nll = float(raw_negative_log_likelihood(logits_NC, labels_N).mean())
    return TemperatureCalibrator(
        kind="none",
        temperature=1.0,
        n=len(labels_N),
        nll_before=nll,
        nll_after=nll,
        converged=True,
        at_bound=False,
        **origin_fields(origin),
    )
