"""Everything that a report says about one data set, from a model's outputs.

Shape suffixes: N images (n of them in a chunk), C classes of the classifier, K of the data set,
D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import (
    AnyCalibrator,
    DomainCalibrator,
    TemperatureCalibrator,
)
from carot.calibration.metrics.metrics import compute_metrics
from carot.calibration.metrics.numbers import Bin, Metrics
from carot.calibration.metrics.reliability import reliability
from carot.calibration.sets.shift_score import ShiftScore
from carot.data.label_space import LabelSpace
from carot.errors import CalibrationError
from carot.evaluation.bound import smallest_singular_value
from carot.evaluation.class_figures import worst_classes
from carot.evaluation.evidence_figures import EvidenceFigures, evidence_figures
from carot.evaluation.figures import FAR, CalibratorFigures, ShiftFigures, WorstClasses
from carot.evaluation.reports import DatasetReport
from carot.specs import OWN_DOMAIN, CalibrationSpec, EvaluationDataset


def measure(
    row: EvaluationDataset,
    logits_NC: Tensor,
    labels_N: Tensor,
    features_ND: Tensor,
    *,
    calibration: Calibration | None,
    skipped: Sequence[str],
    space: LabelSpace | None = None,
    asked: CalibrationSpec | None = None,
) -> DatasetReport:
    """Everything a report says about one data set, but how far it lies from another one.

    Where the data set has classes of its own, all figures are among those: raw logits, and the
    probabilities after each calibrator, are restricted to them.

    Args:
        row: which data set this is.
        logits_NC: finite logits as the classifier serves them, before any calibrator.
        labels_N: class indices, of the data set's classes.
        calibration: None leaves out all that comes of calibration images.
        skipped: names of images that could not be read.
        space: the data set's classes; None for the classifier's own.
        asked: for which coverages and risks; None for the default ones.

    Raises:
        CalibrationError: misshapen, empty or non-finite input, labels out of range.
    """
    _check_one_data_set(logits_NC, features_ND)
    space = space or LabelSpace(())
    raw_NK = space.project(logits_NC)
    raw = compute_metrics(raw_NK, labels_N)
    domain = _domain(row, calibration)
    figures, bins = _calibrated(calibration, logits_NC, labels_N, space, domain)
    found = EvidenceFigures()
    if calibration is not None and calibration.evidence is not None:
        found = evidence_figures(calibration.evidence, raw_NK, labels_N, asked, space)
    return DatasetReport(
        name=row.name,
        dataset=row.dataset,
        split=row.split,
        shift=row.shift,
        severity=row.severity if row.shift is not None else None,
        in_distribution=row.in_distribution,
        images=raw.images,
        classes=raw_NK.shape[1],
        skipped=tuple(skipped),
        commonest_share=float(labels_N.bincount().max()) / raw.images,
        raw=raw,
        calibrated=None if calibration is None else figures[calibration.calibrator.kind],
        calibrators=tuple(CalibratorFigures(kind=k, metrics=m) for k, m in figures.items()),
        sigma_min=smallest_singular_value(features_ND),
        reliability_raw=reliability(raw_NK, labels_N),
        reliability_calibrated=bins,
        domain=domain,
        sets=found.sets,
        risks=found.risks,
        worst_classes=_worst_classes(calibration, logits_NC, labels_N, space, domain),
    )


@torch.no_grad()
def calibrated_outputs(
    row: EvaluationDataset,
    logits_NC: Tensor,
    calibration: Calibration | None,
    space: LabelSpace,
) -> Tensor | None:
    """Log-probabilities (N, K) after the calibrator that is served, as they are measured.

    None without one, and where they follow from the logits among the data set's classes: those of a
    temperature always do; those of others that see all classes, where these are all.
    """
    if calibration is None or isinstance(calibration.calibrator, TemperatureCalibrator):
        return None
    served = calibration.calibrator
    if space.members is None and not isinstance(served, DomainCalibrator):
        return None
    return space.project(_log_probabilities(served, logits_NC, _domain(row, calibration)))


def with_shift(
    measured: Sequence[DatasetReport], distances: Sequence[Tensor], score: ShiftScore
) -> list[DatasetReport]:
    """The rows of a report with how far each lies from calibration and in-distribution images.

    Args:
        distances: of each row's images (`ShiftScore.distances`), (N).
    """
    pairs = list(zip(measured, distances, strict=True))
    own_N = next((distance_N for row, distance_N in pairs if row.in_distribution), None)
    return [
        row.model_copy(
            update={
                "shift_score": shift_figures(
                    distance_N, score.distances_N, None if row.in_distribution else own_N
                )
            }
        )
        for row, distance_N in pairs
    ]


def shift_figures(distance_N: Tensor, calibration_N: Tensor, own_N: Tensor | None) -> ShiftFigures:
    """How far images lie from the calibration images, and from those in distribution.

    Args:
        distance_N: of the data set's images (`ShiftScore.distances`).
        calibration_N: of the calibration images, rising.
        own_N: of the in-distribution data set's images; None for that itself.
    """
    percentile_N = torch.searchsorted(calibration_N, distance_N).double() / len(calibration_N)
    return ShiftFigures(
        auroc=None if own_N is None else separation(distance_N, own_N),
        beyond=float((percentile_N > FAR).double().mean()),
        median_percentile=float(percentile_N.median()),
    )


def separation(higher_N: Tensor, lower_N: Tensor) -> float:
    """AUROC: the chance that one of the first lies above one of the second, ties counting half."""
    ordered_N = lower_N.sort().values
    below_N = torch.searchsorted(ordered_N, higher_N)
    not_above_N = torch.searchsorted(ordered_N, higher_N, right=True)
    return int((below_N + not_above_N).sum()) / (2 * len(higher_N) * len(lower_N))


def _calibrated(
    calibration: Calibration | None,
    logits_NC: Tensor,
    labels_N: Tensor,
    space: LabelSpace,
    domain: str | None,
) -> tuple[dict[str, Metrics], tuple[Bin, ...] | None]:
    """Metrics after every calibrator by kind, and the bins of the one that is served."""
    if calibration is None:
        return {}, None
    served = calibration.calibrator
    figures, bins = {}, None
    raw_NK = space.project(logits_NC)
    for kind, each in {**calibration.fitted, served.kind: served}.items():
        log_NK = space.project(_log_probabilities(each, logits_NC, domain))
        # As in answers: a calibrator that keeps the ranking leaves it to the logits.
        ranked_by = raw_NK if each.keeps_ranking else None
        figures[kind] = compute_metrics(log_NK, labels_N, ranked_by=ranked_by)
        if kind == served.kind:
            bins = reliability(log_NK, labels_N, ranked_by=ranked_by)
    return figures, bins


def _check_one_data_set(logits_NC: Tensor, features_ND: Tensor) -> None:
    if len(features_ND) != len(logits_NC):
        raise CalibrationError(
            f"{len(logits_NC)} rows of logits and {len(features_ND)} of features: not one data set"
        )


def _worst_classes(
    calibration: Calibration | None,
    logits_NC: Tensor,
    labels_N: Tensor,
    space: LabelSpace,
    domain: str | None,
) -> WorstClasses:
    """Of confidences as they are served."""
    raw_NK = space.project(logits_NC)
    if calibration is None:
        return worst_classes(raw_NK, labels_N, space.classes)
    served = calibration.calibrator
    log_NK = space.project(_log_probabilities(served, logits_NC, domain))
    ranked_by = raw_NK if served.keeps_ranking else None
    return worst_classes(log_NK, labels_N, space.classes, ranked_by=ranked_by)


def _domain(row: EvaluationDataset, calibration: Calibration | None) -> str | None:
    """Whose temperature a row takes; None for the pooled one, or where there are no domains."""
    fitted = None if calibration is None else calibration.fitted.get("domain_temperature")
    if not isinstance(fitted, DomainCalibrator):
        return None
    domain = row.domain or (OWN_DOMAIN if row.in_distribution else None)
    return domain if domain in fitted.temperatures else None


def _log_probabilities(calibrator: AnyCalibrator, logits_NC: Tensor, domain: str | None) -> Tensor:
    if isinstance(calibrator, DomainCalibrator) and domain is not None:
        return calibrator.log_probabilities(logits_NC, [domain] * len(logits_NC))
    return calibrator.log_probabilities(logits_NC)
