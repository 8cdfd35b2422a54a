"""What calibration is measured in: the figures of one data set as data. Loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from carot.calibration.intervals import Interval

BINS = 15
"""Equal-width bins of ECE, by convention since Guo et al. 2017."""


class Numbers(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metrics(Numbers):
    """Accuracy and calibration over a whole data set; shares lie in 0 to 1."""

    images: int = Field(ge=1, description="Images measured; unreadable ones are not among them.")
    accuracy: float = Field(ge=0, le=1, description="Share of images whose top label is right.")
    accuracy_interval: Interval = Field(description="Wilson's 95 % interval of the accuracy.")
    ece: float = Field(
        ge=0,
        le=1,
        description="Expected calibration error of the top label over the whole set: 15 "
        "equal-width bins (lo, hi], 0 in the first, L1 norm.",
    )
    ece_null_mean: float = Field(
        ge=0,
        description="Mean ECE that a perfectly calibrated model with these confidences would show "
        "on as many images: sampling noise alone.",
    )
    ece_null_p95: float = Field(
        ge=0,
        description="95th percentile of the same; an ECE below it is no sign of miscalibration.",
    )
    adaptive_ece: float = Field(
        ge=0, le=1, description="ECE with 15 bins of equal mass; equal confidences share a bin."
    )
    debiased_ece: float = Field(
        ge=0,
        le=1,
        description="Root mean square calibration error of the top label, 15 bins of equal mass, "
        "less the bias of its plug-in estimate (Kumar et al. 2019), at least 0.",
    )
    classwise_ece: float = Field(
        ge=0,
        le=1,
        description="Mean over classes of the ECE of that class's probability (Kull et al. 2019); "
        "scales like one over the number of classes.",
    )
    brier: float = Field(
        ge=0, le=2, description="Mean squared distance of the probabilities from the label, 0 to 2."
    )
    nll: float = Field(ge=0, description="Mean negative log-likelihood of the label, in nats.")
    mean_confidence: float = Field(ge=0, le=1, description="Mean probability of the top label.")
    ece_batch_mean_10_of_512: float = Field(
        ge=0,
        le=1,
        description="For comparison with the figures published for CaRot and TRACER only: ECE "
        "with 10 bins of each batch of 512 consecutive images, averaged. Depends on order and "
        "batch size; a perfectly calibrated model scores about 0.03, so do not read it as ECE.",
    )


class Bin(Numbers):
    """One bar of a reliability diagram, over confidences in (lower, upper]; the first holds 0."""

    lower: float
    upper: float
    count: int = Field(ge=0)
    confidence: float | None = Field(description="Mean confidence; null in an empty bin.")
    accuracy: float | None = Field(description="Share of right answers; null in an empty bin.")
    accuracy_interval: Interval | None = Field(description="Wilson's 95 % interval of it.")
