"""Calibration evidence: what the calibration split says about a checkpoint's answers.

Everything here rests on the **raw** confidence, the softmax of the logits as they are. The
calibration images had no part in making those, so that they are exchangeable with new images of
their kind, and the guarantees of conformal prediction and risk control hold exactly, whichever
calibrator was fitted on the same images, and whenever another takes its place. No calibrator can
improve the evidence artificially, either. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from carot.calibration.metrics.inputs import check
from carot.calibration.metrics.numbers import Numbers
from carot.calibration.sets.conformal import ConformalSets, fit_conformal
from carot.calibration.sets.conformal_scores import SCORES
from carot.calibration.sets.coverage import Method
from carot.calibration.sets.evidence import EvidenceTable, fit_evidence
from carot.calibration.sets.risk import RiskThreshold, fit_risk


class CalibrationEvidence(Numbers):
    """The calibration images' raw confidences, outcomes and nonconformity scores."""

    split: str = Field(description="Where the images come from.")
    n: int = Field(ge=1, description="How many there are.")
    label_set_hash: str
    evidence: EvidenceTable
    sets: dict[Method, ConformalSets]

    def risk(self, max_risk: float) -> RiskThreshold:
        """The lowest raw confidence from which on answers are proved to keep a risk.

        Raises:
            CalibrationError: see `fit_risk`; `field` is `max_risk`.
        """
        table = self.evidence
        confidence_N = torch.tensor(table.confidences, dtype=torch.float64)
        return fit_risk(confidence_N, torch.tensor(table.correct), max_risk)


@torch.no_grad()
def fit_calibration_evidence(
    logits_NC: Tensor,
    labels_N: Tensor,
    *,
    classes: Sequence[str] = (),
    split: str = "calibration",
) -> CalibrationEvidence:
    """Keep what the calibration images show.

    Args:
        logits_NC: as the classifier makes them, before any calibrator.
        labels_N: class indices.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    raw_NC = logits_NC.double().softmax(dim=1)
    correct_N = logits_NC.argmax(dim=1) == labels_N.long()
    evidence = fit_evidence(raw_NC.amax(dim=1), correct_N, classes=classes, split=split)
    return CalibrationEvidence(
        split=split,
        n=len(labels_N),
        label_set_hash=evidence.label_set_hash,
        evidence=evidence,
        sets={
            method: fit_conformal(raw_NC, labels_N, method, classes=classes, split=split)
            for method in SCORES
        },
    )
