"""By what the service tells that an image is of none of a checkpoint's classes.

Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from carot.answers.schemas import UnseenLimit
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.sets.shift_score import ShiftScore
from carot.calibration.sets.unseen_names import ACCEPTED
from carot.calibration.sets.unseen_score import UnseenScore


@dataclass(frozen=True)
class UnseenTeller:
    """The score that a checkpoint chose, with what it is made of.

    Attributes:
        calibrator: the checkpoint's own, whose confidences the score knows; another one may be
            served.
    """

    score: UnseenScore
    calibrator: AnyCalibrator
    shift_score: ShiftScore

    @classmethod
    def of(cls, calibration: Calibration | None) -> UnseenTeller | None:
        """None for a checkpoint that was compared with no unseen classes."""
        if calibration is None or calibration.unseen_score is None:
            return None
        if calibration.shift_score is None or calibration.unseen_score.chosen is None:
            return None
        return cls(calibration.unseen_score, calibration.calibrator, calibration.shift_score)

    @property
    def limit(self) -> UnseenLimit:
        """The default: about one in twenty of the images like the calibration images is above."""
        assert self.score.chosen is not None
        images = len(self.score.combined_N)
        return UnseenLimit(score=self.score.chosen, max=ACCEPTED, n=images)

    def percentiles(self, logits_NC: Tensor, features_ND: Tensor) -> list[float | None]:
        """Of each image the share of calibration images that look more like the classes, (N)."""
        confidence_N = self.calibrator.probabilities(logits_NC).double().amax(dim=1).clamp_max(1.0)
        distance_N = self.shift_score.distances(features_ND)
        found: list[float | None] = self.score.percentiles(confidence_N, distance_N).tolist()
        return found
