"""Numbers per data set, before and after calibration, in one JSON document.

Loads no torch, so that a service can read and describe reports without it; how a data set is
measured stands in `carot.evaluation.measuring`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.metrics.numbers import Bin, Metrics, Numbers
from carot.evaluation.figures import (
    CalibrationSummary,
    CalibratorFigures,
    CalibratorMean,
    RiskFigures,
    SetFigures,
    ShiftFigures,
    WorstClasses,
)
from carot.evaluation.unseen_figures import UnseenReport
from carot.specs import (
    FinetuneSpec,
    LoraSpec,
    MeasuringSpec,
    MergeSpec,
    ModelSpec,
    RunSpec,
    SelectSpec,
    ShiftName,
    SplitName,
)
from carot.warnings import CodedWarning

if TYPE_CHECKING:
    from carot.calibration.calibration import Calibration
    from carot.evaluation.selection import Judgement

__all__ = [
    "Bin",
    "Candidate",
    "DatasetReport",
    "Metrics",
    "Report",
    "ShiftedMean",
    "build_report",
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
    commonest_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the images that are of the commonest class: the accuracy of always "
        "answering it; null in reports of earlier releases.",
    )
    raw: Metrics
    calibrated: Metrics | None = Field(description="After the calibrator that is served.")
    calibrators: tuple[CalibratorFigures, ...] = Field(
        default=(), description="After every calibrator that was fitted, that one among them."
    )
    sigma_min: float = Field(
        ge=0,
        le=1,
        description="Smallest singular value of the image features' correlation matrix; exactly "
        "0 when there are no more images than dimensions or a dimension is constant.",
    )
    reliability_raw: tuple[Bin, ...]
    reliability_calibrated: tuple[Bin, ...] | None
    domain: str | None = Field(
        default=None,
        description="Whose temperature `domain_temperature` took; null for the pooled one.",
    )
    sets: tuple[SetFigures, ...] = Field(
        default=(), description="Prediction sets: every method at every coverage asked for."
    )
    risks: tuple[RiskFigures, ...] = Field(
        default=(), description="What is accepted for every risk asked for."
    )
    worst_classes: WorstClasses | None = Field(
        default=None,
        description="The worst calibrated classes, as served, and what is taken for what; null in "
        "reports stored before.",
    )
    shift_score: ShiftFigures | None = Field(
        default=None, description="Null where the calibration images gave no such score."
    )

    def without_classes(self) -> Self:
        """The same without what it says of single classes."""
        sets = tuple(each.model_copy(update={"classes": ()}) for each in self.sets)
        return self.model_copy(update={"sets": sets, "worst_classes": None})

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
    calibrators: tuple[CalibratorMean, ...] = Field(
        default=(), description="Of the calibrators that all of them were measured with."
    )


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
    adapters: LoraSpec | None = Field(
        default=None,
        description="What was trained in place of the towers' own weights; null where these were.",
    )
    model: ModelSpec | None = Field(
        description="The model the run started from; null where it took several."
    )
    dataset: str
    classes: tuple[str, ...]
    calibrator: AnyCalibrator | None = Field(description="The one that is served.")
    calibration: CalibrationSummary | None = Field(
        default=None,
        description="Every calibrator that was fitted; null without calibration images, and in "
        "reports stored before there were several.",
    )
    datasets: tuple[DatasetReport, ...]
    in_distribution: str | None = Field(description="Name of the in-distribution data set.")
    ood_mean: ShiftedMean | None
    rule: str | None = Field(default=None, description="By which the candidates were compared.")
    candidates: tuple[Candidate, ...] = ()
    before: tuple[DatasetReport, ...] = Field(
        default=(),
        description="The same rows of the model that a fine-tuning started from, calibrated with "
        "a temperature on the same images; empty where it was not measured.",
    )
    before_ood_mean: ShiftedMean | None = None
    unseen: UnseenReport | None = Field(
        default=None,
        description="Images of none of the classes, against those in distribution; null where none "
        "were measured.",
    )
    warnings: tuple[CodedWarning, ...] = Field(
        default=(), description="What the run warned of, the first of each kind and sentence."
    )
    spec: RunSpec


def build_report(
    spec: MeasuringSpec,
    measured: Sequence[DatasetReport],
    *,
    classes: Sequence[str],
    method: str,
    architecture: str,
    calibration: Calibration | None,
    summary: CalibrationSummary | None = None,
    rule: str | None = None,
    candidates: Sequence[Candidate] = (),
    before: Sequence[DatasetReport] = (),
    unseen: UnseenReport | None = None,
    warnings: Sequence[CodedWarning] = (),
) -> Report:
    """One document of a run's measurements, dated now."""
    in_distribution = next((each.name for each in measured if each.in_distribution), None)
    return Report(
        version=VERSION,
        created_at=datetime.now(UTC),
        kind=spec.kind,
        method=method,
        architecture=architecture,
        adapters=spec.adapters if isinstance(spec, FinetuneSpec) else None,
        model=None if isinstance(spec, MergeSpec | SelectSpec) else spec.model,
        dataset=spec.dataset,
        classes=tuple(classes),
        calibrator=None if calibration is None else calibration.calibrator,
        calibration=summary,
        datasets=tuple(measured),
        in_distribution=in_distribution,
        ood_mean=shifted_mean(measured),
        rule=rule,
        candidates=tuple(candidates),
        before=tuple(before),
        before_ood_mean=shifted_mean(before),
        unseen=unseen,
        warnings=tuple(warnings),
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
        calibrators=_calibrator_means(shifted),
    )


def _calibrator_means(shifted: Sequence[DatasetReport]) -> tuple[CalibratorMean, ...]:
    """Those of the calibrators that every row has: means over others would not compare."""
    found: dict[str, list[Metrics]] = {}
    for row in shifted:
        for each in row.calibrators:
            found.setdefault(each.kind, []).append(each.metrics)
    return tuple(
        CalibratorMean(
            kind=kind,
            accuracy=fmean(each.accuracy for each in metrics),
            ece=fmean(each.ece for each in metrics),
            nll=fmean(each.nll for each in metrics),
            brier=fmean(each.brier for each in metrics),
        )
        for kind, metrics in found.items()
        if len(metrics) == len(shifted)
    )
