"""Numbers per data set, before and after calibration, in one JSON document.

The models load no torch, so that a service can read and describe reports without it; `measure`
does.
Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from carot.calibration.calibrator import AnyCalibrator
from carot.calibration.numbers import Bin, Metrics, Numbers
from carot.errors import CalibrationError
from carot.specs import (
    EvaluationDataset,
    MeasuringSpec,
    MergeSpec,
    ModelSpec,
    RunSpec,
    SelectSpec,
    ShiftName,
    SplitName,
)

if TYPE_CHECKING:
    from torch import Tensor

    from carot.calibration.calibration import Calibration
    from carot.selection import Judgement

__all__ = [
    "Bin",
    "Candidate",
    "DatasetReport",
    "Metrics",
    "Report",
    "ShiftedMean",
    "build_report",
    "measure",
    "shifted_mean",
]

VERSION = 1


class DatasetReport(Numbers):
    """What was measured on one data set."""

    name: str
    dataset: str
    split: SplitName
    shift: ShiftName | None = None
    severity: int | None = Field(default=None, description="1 to 5; null without a shift.")
    in_distribution: bool
    images: int = Field(description="Images measured.")
    classes: int = Field(
        ge=2,
        description="How many classes the answers were chosen among; fewer than the classifier's "
        "where the data set has only some of them.",
    )
    skipped: tuple[str, ...] = Field(description="Names of the images that cannot be read.")
    raw: Metrics
    calibrated: Metrics | None = Field(description="The same logits after the calibrator.")
    sigma_min: float = Field(
        ge=0,
        le=1,
        description="Smallest singular value of the image features' correlation matrix; exactly "
        "0 when there are no more images than dimensions or a dimension is constant.",
    )
    reliability_raw: tuple[Bin, ...]
    reliability_calibrated: tuple[Bin, ...] | None

    def headline(self) -> dict[str, float | None]:
        """The few numbers a list or a progress line shows."""
        calibrated = self.calibrated
        return {
            "accuracy": self.raw.accuracy,
            "ece": self.raw.ece,
            "calibrated_ece": calibrated.ece if calibrated else None,
            "ece_null_p95": self.raw.ece_null_p95,
            "nll": self.raw.nll,
            "calibrated_nll": calibrated.nll if calibrated else None,
            "sigma_min": self.sigma_min,
        }


class ShiftedMean(Numbers):
    """Unweighted means over every data set that is not the in-distribution one."""

    datasets: int = Field(ge=1, description="How many were averaged.")
    accuracy: float
    ece: float
    calibrated_ece: float | None
    nll: float
    calibrated_nll: float | None
    sigma_min: float


class Candidate(Numbers):
    """One of several models of which a run kept one, and what the choice went by.

    The figures are those of the selection split, in distribution.
    """

    name: str = Field(description="Such as `step 120`, `α 0.5`, or the name of a checkpoint.")
    step: int | None = Field(default=None, description="Optimizer steps done, in training.")
    alpha: float | None = Field(default=None, description="Share of the fine-tuned weights.")
    model: ModelSpec | None = Field(default=None, description="A checkpoint that was there before.")
    accuracy: float = Field(ge=0, le=1)
    nll: float = Field(ge=0, description="Mean negative log-likelihood, in nats.")
    calibration_error: float = Field(
        ge=0, description="Squared calibration error of the top label, debiased."
    )
    sigma_min: float = Field(ge=0, le=1)
    score: float | None = Field(description="What the rule went by; the lowest is kept.")
    chosen: bool
    datasets: tuple[DatasetReport, ...] = Field(
        default=(), description="What was measured of it; empty where only the chosen one was."
    )
    ood_mean: ShiftedMean | None = None

    @classmethod
    def of(
        cls, name: str, judged: Judgement, score: float, *, chosen: bool, **more: Any
    ) -> Candidate:
        """What was found of one candidate; a score that is not finite is left out."""
        return cls(
            name=name,
            accuracy=judged.accuracy,
            nll=judged.nll,
            calibration_error=judged.calibration_error,
            sigma_min=judged.sigma_min,
            score=score if math.isfinite(score) else None,
            chosen=chosen,
            **more,
        )


class Report(Numbers):
    """A model's accuracy and calibration, in distribution and out of it.

    Where a run chose among candidates, `datasets` are those of the chosen one.
    """

    version: Literal[1] = 1
    created_at: datetime
    kind: Literal["finetune", "evaluate", "interpolate", "merge", "select"]
    method: str
    architecture: str
    model: ModelSpec | None = Field(
        description="The model the run started from; null where it took several."
    )
    dataset: str
    classes: tuple[str, ...]
    calibrator: AnyCalibrator | None
    datasets: tuple[DatasetReport, ...]
    in_distribution: str | None = Field(description="Name of the in-distribution data set.")
    ood_mean: ShiftedMean | None
    rule: str | None = Field(default=None, description="By which the candidates were compared.")
    candidates: tuple[Candidate, ...] = ()
    spec: RunSpec


def measure(
    row: EvaluationDataset,
    logits_NC: Tensor,
    labels_N: Tensor,
    features_ND: Tensor,
    *,
    calibration: Calibration | None,
    skipped: Sequence[str],
) -> DatasetReport:
    """Everything a report says about one data set.

    Args:
        row: which data set this is.
        logits_NC: finite logits as the classifier serves them, before the temperature; where the
            data set has classes of its own, projected to those (`carot.label_space`).
        labels_N: class indices.
        features_ND: image features; their length does not matter.
        calibration: None leaves the calibrated figures out.
        skipped: names of images that could not be read.

    Raises:
        CalibrationError: misshapen, empty or non-finite input, labels out of range.
    """
    from carot.bound import smallest_singular_value
    from carot.calibration.metrics import compute_metrics
    from carot.calibration.reliability import reliability

    if len(features_ND) != len(logits_NC):
        raise CalibrationError(
            f"{len(logits_NC)} rows of logits and {len(features_ND)} of features: not one data set"
        )
    raw = compute_metrics(logits_NC, labels_N)
    calibrated, calibrated_bins = None, None
    if calibration is not None:
        calibrated_NC = calibration.calibrator.log_probabilities(logits_NC)
        calibrated = compute_metrics(calibrated_NC, labels_N)
        calibrated_bins = reliability(calibrated_NC, labels_N)
    return DatasetReport(
        name=row.name,
        dataset=row.dataset,
        split=row.split,
        shift=row.shift,
        severity=row.severity if row.shift is not None else None,
        in_distribution=row.in_distribution,
        images=raw.images,
        classes=logits_NC.shape[1],
        skipped=tuple(skipped),
        raw=raw,
        calibrated=calibrated,
        sigma_min=smallest_singular_value(features_ND),
        reliability_raw=reliability(logits_NC, labels_N),
        reliability_calibrated=calibrated_bins,
    )


def build_report(
    spec: MeasuringSpec,
    measured: Sequence[DatasetReport],
    *,
    classes: Sequence[str],
    method: str,
    architecture: str,
    calibration: Calibration | None,
    rule: str | None = None,
    candidates: Sequence[Candidate] = (),
) -> Report:
    """One document of a run's measurements, dated now."""
    in_distribution = next((each.name for each in measured if each.in_distribution), None)
    return Report(
        version=VERSION,
        created_at=datetime.now(UTC),
        kind=spec.kind,
        method=method,
        architecture=architecture,
        model=None if isinstance(spec, MergeSpec | SelectSpec) else spec.model,
        dataset=spec.dataset,
        classes=tuple(classes),
        calibrator=None if calibration is None else calibration.calibrator,
        datasets=tuple(measured),
        in_distribution=in_distribution,
        ood_mean=shifted_mean(measured),
        rule=rule,
        candidates=tuple(candidates),
        spec=spec,
    )


def shifted_mean(measured: Sequence[DatasetReport]) -> ShiftedMean | None:
    """The mean over those that are not in distribution; None where there are none."""
    shifted = [each for each in measured if not each.in_distribution]
    if not shifted:
        return None
    calibrated = [each.calibrated for each in shifted if each.calibrated is not None]
    # A mean over some of the rows would not be comparable with the raw one beside it.
    complete = len(calibrated) == len(shifted)
    return ShiftedMean(
        datasets=len(shifted),
        accuracy=fmean(each.raw.accuracy for each in shifted),
        ece=fmean(each.raw.ece for each in shifted),
        calibrated_ece=fmean(each.ece for each in calibrated) if complete else None,
        nll=fmean(each.raw.nll for each in shifted),
        calibrated_nll=fmean(each.nll for each in calibrated) if complete else None,
        sigma_min=fmean(each.sigma_min for each in shifted),
    )
