"""Applies a calibrator to a request: by domain, and for classes that it was not fitted for.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math

from torch import Tensor

from carot.calibration.calibrators.calibrator import (
    AnyCalibrator,
    DomainCalibrator,
    MixtureCalibrator,
)
from carot.models.vocabulary import Vocabulary


def carried_temperature(
    calibrator: AnyCalibrator | None, vocabulary: Vocabulary, domain: str | None = None
) -> float | None:
    """The temperature that also serves other classes of the same model; None takes raw logits.

    One temperature of a CLIP model holds over label sets and prompts (LeVine et al. 2023, arXiv
    2303.12748; Tu et al. 2024, arXiv 2402.07417), where all logits are scaled cosines of the same
    towers. So it is taken only if the checkpoint's head is of the text tower, in the same unit, and
    the calibration images determine it; what was fitted class by class, as a map of confidences or
    as one part of a mixture says nothing of other classes.
    """
    if calibrator is None or calibrator.at_bound or vocabulary.own_head != "text":
        return None
    if not math.isclose(calibrator.logit_scale, vocabulary.logit_scale, rel_tol=1e-6):
        return None
    # A part of ensembles alone; that of smoothing is all but one image's weight.
    if isinstance(calibrator, MixtureCalibrator) and calibrator.kind != "smoothed_temperature":
        return None
    return temperature_of(calibrator, domain)


def temperature_of(calibrator: AnyCalibrator, domain: str | None) -> float | None:
    """What it divides logits by, if it does; that of the domain, if it has one of its own."""
    if isinstance(calibrator, DomainCalibrator):
        own = None if domain is None else calibrator.temperatures.get(domain)
        return own or calibrator.pooled
    temperature: float | None = getattr(calibrator, "temperature", None)
    return temperature


def calibrated(
    calibrator: AnyCalibrator | None, logits_NC: Tensor, raw_NC: Tensor, domain: str | None
) -> Tensor:
    """Calibrated probabilities, float64, (N, C); the raw ones where there is no calibrator."""
    if calibrator is None:
        return raw_NC
    if isinstance(calibrator, DomainCalibrator) and domain is not None:
        return calibrator.probabilities(logits_NC, [domain] * len(logits_NC))
    return calibrator.probabilities(logits_NC)
