"""What calibration is measured in: the figures of one data set as data. Loads no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from carot.calibration.metrics.intervals import Interval

BINS = 15
"""Equal-width bins of ECE, by convention since Guo et al. 2017."""

LEAST_IN_BIN = 30
"""Images that a bin must hold to count for `ece_max`: of fewer, it would show noise alone."""


class Numbers(BaseModel):
    """Frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metrics(Numbers):
    """Accuracy and calibration over a whole data set; shares lie in 0 to 1.

    Fields that default to null came later: reports stored before lack them.
    """

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
    ece_l2: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="ECE with the L2 norm: root mean square gap between accuracy and confidence, "
        "15 equal-width bins weighted by their images; biased upward, as ECE is.",
    )
    ece_max: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Largest gap between accuracy and confidence of an equal-width bin of 15 with "
        "30 images or more; null where no bin has as many.",
    )
    smooth_ece: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Calibration error without bins: reflected Gaussian kernel, whose width is "
        "the value itself (Błasiok and Nakkiran 2023).",
    )
    debiased_squared: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Square of `debiased_ece` before it is cut off at 0: unbiased, so below 0 "
        "about every second time for a calibrated model.",
    )
    debiased_squared_interval: Interval | None = Field(
        default=None,
        description="Asymptotic 95 % interval of it, 0 to 1; holds for calibrated models, too, "
        "whose interval begins at 0.",
    )
    auroc: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Chance that a right answer has a higher confidence than a wrong one, equal "
        "ones counting half; null where all answers are right or all are wrong.",
    )
    aurc: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of errors among the k most confident answers, mean over k; over the "
        "orders of equal confidences as well.",
    )
    augrc: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Errors among the k most confident answers as a share of all images, mean "
        "over k (Traub et al. 2024); about half the error rate where confidence tells nothing.",
    )
    brier_top: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Brier score of the top label, mean (confidence − right)²: `brier_reliability` "
        "− `brier_resolution` + `brier_uncertainty` + `brier_within` (Murphy 1973, Stephenson et "
        "al. 2008), over 15 equal-width bins.",
    )
    brier_reliability: float | None = Field(
        default=None, ge=0, le=1, description="Mean square gap between accuracy and confidence."
    )
    brier_resolution: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Variance of the bins' accuracy, 1/4 at most; the higher, the more confidence "
        "tells.",
    )
    brier_uncertainty: float | None = Field(
        default=None, ge=0, le=0.25, description="Accuracy times error rate."
    )
    brier_within: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Variance of the confidences within a bin less twice their covariance with "
        "right answers: what bins do not see.",
    )


class Bin(Numbers):
    """One bar of a reliability diagram, over confidences in (lower, upper]; the first holds 0."""

    lower: float
    upper: float
    count: int = Field(ge=0)
    confidence: float | None = Field(description="Mean confidence; null in an empty bin.")
    accuracy: float | None = Field(description="Share of right answers; null in an empty bin.")
    accuracy_interval: Interval | None = Field(description="Wilson's 95 % interval of it.")
