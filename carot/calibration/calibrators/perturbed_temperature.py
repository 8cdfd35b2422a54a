"""A temperature made for shift: fitted on perturbed calibration images (Tomani et al. 2021).

One that is fitted on clean images is too low where images are not. Of several versions of each
image, from clean to all but unrecognisable, the temperature serves all together: less sharp than
the clean ones alone would have it. The caller perturbs the images, and best so that accuracy falls
evenly from that of clean images to chance. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.calibrators.origin import Origin
from carot.calibration.calibrators.temperature import fit_to_parts
from carot.errors import CalibrationError


@torch.no_grad()
def fit_perturbed_temperature(
    versions: Sequence[Tensor], labels_N: Tensor, **origin: Unpack[Origin]
) -> TemperatureCalibrator:
    """The temperature that is best for all versions of the images together.

    The likelihoods kept with it are those over all versions; `n` counts each image once.

    Args:
        versions: logits of shape (N, C) of each version, the clean one among them if it counts.
        labels_N: class indices, the same for every version.

    Raises:
        CalibrationError: no versions; empty, misshapen or non-finite input, labels out of range.
    """
    if not versions:
        raise CalibrationError("no logits of perturbed images")
    parts = [(logits_NC, labels_N) for logits_NC in versions]
    return fit_to_parts(parts, "perturbed_temperature", origin)
