"""All that was learned from one calibration split, as a checkpoint stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.sets.calibration_evidence import CalibrationEvidence
from carot.calibration.sets.shift_score import ShiftScore
from carot.calibration.sets.unseen_score import UnseenScore


@dataclass(frozen=True)
class Calibration:
    """What turns a checkpoint's logits into confidences, and what those are worth.

    Attributes:
        calibrator: the one that is served.
        fitted: every calibrator that was fitted, by kind; that one is among them.
        evidence, shift_score: None in checkpoints from before there were any.
        unseen_score: None where nothing was compared with unseen classes. Its confidences are of
            `calibrator`, whichever is served later.
    """

    calibrator: AnyCalibrator
    fitted: Mapping[str, AnyCalibrator] = field(default_factory=dict)
    evidence: CalibrationEvidence | None = None
    shift_score: ShiftScore | None = None
    unseen_score: UnseenScore | None = None
