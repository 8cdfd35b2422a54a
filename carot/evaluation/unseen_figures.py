"""What a report says of images that are of none of the classes. Loads no torch."""

from __future__ import annotations

from pydantic import Field

from carot.calibration.metrics.intervals import Interval
from carot.calibration.metrics.numbers import Numbers
from carot.calibration.sets.unseen_names import Score
from carot.specs import ShiftName, SplitName


class SeparationFigures(Numbers):
    """How well one score tells unseen classes from known ones."""

    score: Score = Field(
        description="`confidence`: the largest probability, calibrated where there is a "
        "calibrator; `shift`: the shift score; `combined`: both, by Fisher's method."
    )
    auroc: float = Field(
        ge=0,
        le=1,
        description="Chance that an unseen image looks less like the classes than one in "
        "distribution, ties counting half.",
    )
    auroc_interval: Interval | None = Field(
        description="DeLong's 95 % interval on the scale of log odds; null where all pairs are in "
        "one order, or there are fewer than two images of either."
    )
    fpr95: float = Field(
        ge=0,
        le=1,
        description="Share of unseen images that are accepted where at least 95 % of those in "
        "distribution are; images that tie with the threshold are accepted.",
    )
    fpr95_interval: Interval = Field(
        description="95 % interval: bootstrap of both samples, at least as wide as Wilson's."
    )


class UnseenRow(Numbers):
    """One data set of things of other classes, against the one in distribution."""

    name: str
    dataset: str
    split: SplitName
    shift: ShiftName | None = None
    severity: int | None = Field(default=None, description="1 to 5; null without a shift.")
    classes: tuple[str, ...] = Field(description="The unseen classes that it has images of.")
    images: int = Field(ge=1, description="Unseen images that the figures are of.")
    known_images: int = Field(ge=1, description="Images in distribution that they are of.")
    skipped: tuple[str, ...] = Field(
        default=(), description="Names of the unseen images that cannot be read."
    )
    scores: tuple[SeparationFigures, ...] = Field(
        description="Confidence alone where calibration images gave no shift score."
    )
    abstained: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the unseen images that the chosen score would abstain from, with the "
        "limit of the calibration images; null where none is chosen.",
    )
    known_abstained: float | None = Field(
        default=None, ge=0, le=1, description="The same of the images in distribution."
    )


class ScoreChoice(Numbers):
    """What one score did on the images that the choice was made by."""

    score: Score
    auroc: float = Field(ge=0, le=1, description="Mean over the data sets of unseen classes.")


class UnseenReport(Numbers):
    """What happens to images that are of none of the classes.

    Half of the images, by a hash of their names, only serve to choose a score; the figures are of
    the others, so that the choice does not flatter them.
    """

    known: str = Field(description="Name of the data set in distribution.")
    rows: tuple[UnseenRow, ...]
    chosen: Score | None = Field(
        description="The score with the highest AUROC on the images kept for choosing, or the one "
        "that the checkpoint brought; null where there is no shift score, no image to choose by, "
        "or none is above 0.5. A run that makes a checkpoint stores it there, for `/predict`."
    )
    choice: tuple[ScoreChoice, ...] = Field(
        default=(), description="What the choice went by; empty where none was made."
    )
