"""Every calibrator made for shift on the same logits, by name.

Shape suffixes: N images, V perturbed versions, C classes, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.calibrators.perturbed_temperature import fit_perturbed_temperature
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.shift.pseudo_targets import fit_pseudo_temperature
from carot.calibration.shift.regressed_temperature import Domain, fit_regressed_temperature
from carot.calibration.shift.zero_shot import (
    fit_zero_shot_confidence,
    fit_zero_shot_range,
    in_zero_shot_range,
)
from carot.errors import CalibrationError


@dataclass(frozen=True)
class SetLogits:
    """What is known of one set of images; what is None leaves out the calibrators that need it.

    Attributes:
        logits_NC: of the fine-tuned model.
        labels_N: class indices. Those of the set that is asked about are not looked at.
        zero_shot_NC: logits of the model that it was fine-tuned from, for the same images.
        mixed_NC, partner_N: see `fit_pseudo_temperature`.
        features_ND: of the fine-tuned model.
        perturbed_VNC, perturbed_features_VND: of perturbed versions; only of the calibration set.
    """

    logits_NC: Tensor
    labels_N: Tensor
    zero_shot_NC: Tensor | None = None
    mixed_NC: Tensor | None = None
    partner_N: Tensor | None = None
    features_ND: Tensor | None = None
    perturbed_VNC: Tensor | None = None
    perturbed_features_VND: Tensor | None = None


@torch.no_grad()
def shift_calibrated(calibration: SetLogits, asked: SetLogits) -> dict[str, Tensor]:
    """Logits (N, C), float64, of the images that are asked about, by each calibrator.

    `raw` and `temperature` (of the calibration set) are there for comparison. Those that lean on
    zero-shot logits or on mixtures are fitted on the images that are asked about, all of them
    together, without labels; the domains of `regressed_temperature` are the calibration images and
    their perturbed versions.

    Raises:
        CalibrationError: one of them cannot be fitted; see each.
    """
    raw_NC = asked.logits_NC.double()
    plain = fit_temperature(calibration.logits_NC, calibration.labels_N).temperature
    found = {"raw": raw_NC, "temperature": raw_NC / plain}
    if asked.zero_shot_NC is not None:
        logits_NC, zero_shot_NC = asked.logits_NC, asked.zero_shot_NC
        found["zero_shot_range_each"] = in_zero_shot_range(logits_NC, zero_shot_NC)
        found["zero_shot_range"] = raw_NC / fit_zero_shot_range(logits_NC, zero_shot_NC)
        confident = fit_zero_shot_confidence(logits_NC, zero_shot_NC)
        found["zero_shot_confidence"] = raw_NC / confident
    if asked.mixed_NC is not None:
        if asked.partner_N is None:
            raise CalibrationError("mixtures without partner_N", field="partner_N")
        temperature = fit_pseudo_temperature(asked.mixed_NC, asked.logits_NC, asked.partner_N)
        found["pseudo_targets"] = raw_NC / temperature
    if calibration.perturbed_VNC is not None:
        versions = [calibration.logits_NC, *calibration.perturbed_VNC]
        perturbed = fit_perturbed_temperature(versions, calibration.labels_N)
        found["perturbed_temperature"] = raw_NC / perturbed.temperature
        if asked.features_ND is not None:
            regressed = fit_regressed_temperature(_domains(calibration))
            found["regressed_temperature"] = regressed.apply(raw_NC, asked.features_ND)
    return found


def _domains(calibration: SetLogits) -> list[Domain]:
    clean_ND, perturbed_VND = calibration.features_ND, calibration.perturbed_features_VND
    if clean_ND is None or perturbed_VND is None or calibration.perturbed_VNC is None:
        raise CalibrationError("features of the calibration images and their versions are needed")
    logits = [calibration.logits_NC, *calibration.perturbed_VNC]
    features = [clean_ND, *perturbed_VND]
    return [
        Domain(logits_NC, calibration.labels_N, features_ND)
        for logits_NC, features_ND in zip(logits, features, strict=True)
    ]
