"""Which calibrator was chosen, and how the others did, as data. Loads no torch."""

from __future__ import annotations

from pydantic import Field

from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.metrics.numbers import Numbers


class Score(Numbers):
    """How one kind did on images that it was not fitted on."""

    kind: str
    nll: float | None = Field(
        description="Mean negative log-likelihood in nats; null where it could not be measured."
    )
    behind: float | None = Field(description="That less the lowest one.")
    behind_standard_error: float | None = Field(
        description="Standard error of `behind`, from the differences image by image."
    )
    reason: str | None = Field(default=None, description="Why it could not be measured.")


class Choice(Numbers):
    """The calibrator, fitted on all images, and the scores of all kinds, the simplest first."""

    calibrator: AnyCalibrator
    folds: int = Field(description="Parts of the cross-validation; 0 where images were too few.")
    raw_nll: float = Field(description="What the logits score as they are.")
    scores: tuple[Score, ...]
