"""What a report says of confidences beside accuracy and error: per calibrator, set, risk, shift.

Loads no torch. Sets, risks and the shift score rest on the raw confidence and on features, see
`carot.calibration.sets.calibration_evidence`: they are the same whichever calibrator is served.
"""

from __future__ import annotations

from pydantic import Field

from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.calibrators.choice import Choice
from carot.calibration.metrics.intervals import Interval
from carot.calibration.metrics.numbers import Metrics, Numbers
from carot.calibration.sets.coverage import ClassCoverage, Coverage, Method

FAR = 0.99
"""The percentile of the shift score beyond which a report counts images as far away."""


LISTED_CLASSES = 20
"""Most classes that a report lists of one kind."""


class ClassFigures(Numbers):
    """One class as it is served: how often its images are right, and how sure the answers are."""

    name: str
    images: int = Field(ge=1, description="Images of this class.")
    accuracy: float = Field(ge=0, le=1, description="Share of them with the right answer.")
    accuracy_interval: Interval = Field(description="Wilson's 95 % interval of it.")
    mean_confidence: float = Field(ge=0, le=1, description="Of the answers, whatever they are.")
    gap: float = Field(
        ge=-1, le=1, description="Mean confidence less accuracy; above 0 it is overconfident."
    )
    confused_with: str | None = Field(description="The wrong answer given most often.")
    confused: int = Field(ge=0, description="How often it was given.")


class Confused(Numbers):
    """A class that is taken for another one."""

    label: str
    answer: str
    images: int = Field(ge=1, description="How often.")


class WorstClasses(Numbers):
    """Where a data set goes wrong, class by class."""

    gaps: tuple[ClassFigures, ...] = Field(
        description="Classes whose mean confidence lies outside the interval of their accuracy, "
        f"those farthest outside first; at most {LISTED_CLASSES}."
    )
    confused: tuple[Confused, ...] = Field(
        description=f"The most frequent wrong answers, at most {LISTED_CLASSES}."
    )
    names: tuple[str, ...] = Field(description="Of the rows and columns of `confusion`.")
    confusion: tuple[tuple[int, ...], ...] | None = Field(
        description="Images of each class (row) that were given each answer (column); null where "
        f"there are more than {LISTED_CLASSES} classes."
    )


class CalibratorFigures(Numbers):
    """One data set after one calibrator."""

    kind: str
    metrics: Metrics


class CalibratorMean(Numbers):
    """One calibrator's unweighted means over every data set that is not in distribution."""

    kind: str
    accuracy: float
    ece: float
    nll: float
    brier: float


class SetFigures(Numbers):
    """Prediction sets of one method at one coverage."""

    method: Method
    asked: float = Field(gt=0, lt=1, description="The coverage that was asked for.")
    measured: Coverage | None = Field(description="Null where there are no such sets.")
    expected: Interval | None = Field(
        description="What 95 of 100 calibration splits of this size cover in distribution, for "
        "scores without ties; sets of which the top class is always a member cover more. Null for "
        "`mondrian`, where each class has a band of its own."
    )
    classes: tuple[ClassCoverage, ...] = Field(
        default=(),
        description="What they hold of each class, those that are surest to be held too rarely "
        f"first; at most {LISTED_CLASSES}. Of `mondrian` sets each holds what was asked.",
    )
    reason: str | None = Field(default=None, description="Why there are no such sets.")


class RiskFigures(Numbers):
    """Answers whose raw confidence reaches the threshold for one risk."""

    max_risk: float = Field(gt=0, lt=1, description="The share of wrong answers asked for.")
    threshold: float | None = Field(
        description="The raw confidence that an accepted answer has at least; null where the "
        "calibration images prove none."
    )
    accepted: int | None = Field(description="Images accepted.")
    accepted_share: float | None
    risk: float | None = Field(description="Share of wrong ones among them; null if none is.")
    risk_interval: Interval | None = Field(description="Wilson's 95 % interval of it.")
    reason: str | None = Field(default=None, description="Why there is no threshold.")


class ShiftFigures(Numbers):
    """How far the images lie from the calibration images, by their features."""

    auroc: float | None = Field(
        description="Chance that an image lies farther away than one of the in-distribution data "
        "set; null for that itself, and without one."
    )
    beyond: float = Field(
        ge=0,
        le=1,
        description=f"Share of images that lie farther away than {FAR:.0%} of the calibration "
        "images.",
    )
    median_percentile: float = Field(
        ge=0, le=1, description="Median shift score: share of calibration images that lie nearer."
    )


class FittedCalibrator(Numbers):
    """One kind that a run tried."""

    kind: str
    calibrator: AnyCalibrator | None = Field(description="Null where it could not be fitted.")
    reason: str | None = Field(default=None, description="Why it could not be fitted.")
    nll: float | None = Field(
        default=None,
        description="Mean negative log-likelihood on the clean calibration images, which it was "
        "fitted on; null where a checkpoint brought it.",
    )


class CalibrationSummary(Numbers):
    """What was learned from the calibration split, and which calibrator is served."""

    images: int = Field(description="Calibration images.")
    asked: str | None = Field(
        description="The kind that the spec asks for, or `auto`; null where a checkpoint brought "
        "its calibration."
    )
    served: str
    raw_nll: float | None = Field(
        description="Mean negative log-likelihood of the calibration images without a calibrator."
    )
    calibrators: tuple[FittedCalibrator, ...]
    choice: Choice | None = Field(
        default=None, description="With `auto`: every kind's score on images held out."
    )
