"""Everything that a report says about one data set, from a model's outputs.

Shape suffixes: N images (n of them in a chunk), C classes of the classifier, K of the data set,
D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from carot.bound import smallest_singular_value
from carot.calibration.calibration import Calibration
from carot.calibration.calibrator import AnyCalibrator, DomainCalibrator
from carot.calibration.conformal import ConformalSets, coverage_of
from carot.calibration.conformal_scores import Regularisation, scores_of
from carot.calibration.coverage import Method
from carot.calibration.grounds import Grounds
from carot.calibration.inputs import chunks
from carot.calibration.intervals import wilson_interval
from carot.calibration.metrics import compute_metrics
from carot.calibration.reliability import reliability
from carot.errors import CalibrationError
from carot.figures import FAR, CalibratorFigures, RiskFigures, SetFigures, ShiftFigures
from carot.label_space import LabelSpace
from carot.reports import DatasetReport
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
        features_ND: image features; their length does not matter but to the shift score.
        calibration: None leaves out all that comes of calibration images.
        skipped: names of images that could not be read.
        space: the data set's classes; None for the classifier's own.
        asked: for which coverages and risks; None for the default ones.

    Raises:
        CalibrationError: misshapen, empty or non-finite input, labels out of range.
    """
    if len(features_ND) != len(logits_NC):
        raise CalibrationError(
            f"{len(logits_NC)} rows of logits and {len(features_ND)} of features: not one data set"
        )
    space = space or LabelSpace(())
    raw_NK = space.project(logits_NC)
    raw = compute_metrics(raw_NK, labels_N)
    domain = _domain(row, calibration)
    calibrated, bins, figures = None, None, []
    if calibration is not None:
        served = calibration.calibrator
        for kind, each in {**calibration.fitted, served.kind: served}.items():
            log_NK = space.project(_log_probabilities(each, logits_NC, domain))
            figures.append(CalibratorFigures(kind=kind, metrics=compute_metrics(log_NK, labels_N)))
            if kind == served.kind:
                calibrated, bins = figures[-1].metrics, reliability(log_NK, labels_N)
    grounds = None if calibration is None else calibration.grounds
    found = None if grounds is None else grounded(grounds, raw_NK, labels_N, asked)
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
        raw=raw,
        calibrated=calibrated,
        calibrators=tuple(figures),
        sigma_min=smallest_singular_value(features_ND),
        reliability_raw=reliability(raw_NK, labels_N),
        reliability_calibrated=bins,
        domain=domain,
        sets=() if found is None else found.sets,
        risks=() if found is None else found.risks,
    )


@dataclass(frozen=True)
class Grounded:
    """What prediction sets and risk thresholds do on one data set."""

    sets: tuple[SetFigures, ...]
    risks: tuple[RiskFigures, ...]


@torch.no_grad()
def grounded(
    grounds: Grounds, raw_NK: Tensor, labels_N: Tensor, asked: CalibrationSpec | None = None
) -> Grounded:
    """Coverage and size of sets by every method, and what each risk's threshold accepts.

    Raises:
        CalibrationError: misshapen, empty or non-finite input, labels out of range.
    """
    asked = asked or CalibrationSpec()
    counted = [
        _Sets(sets, coverage) for sets in grounds.sets.values() for coverage in asked.coverages
    ]
    rules = {
        method: Regularisation(sets.penalty, sets.free_ranks)
        for method, sets in grounds.sets.items()
    }
    confidences, corrects = [], []
    for logits_nK, label_n in chunks(raw_NK, labels_N):
        raw_nK = logits_nK.softmax(dim=1)
        top_n = raw_nK.max(dim=1)
        confidences.append(top_n.values)
        corrects.append(top_n.indices == label_n)
        scores = scores_of(raw_nK, rules)
        for each in counted:
            each.count(scores, label_n)
    confidence_N, correct_N = torch.cat(confidences), torch.cat(corrects)
    return Grounded(
        tuple(each.figures(raw_NK.shape[1]) for each in counted),
        tuple(_risk(grounds, risk, confidence_N, correct_N) for risk in asked.max_risks),
    )


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


class _Sets:
    """Sets of one method at one coverage, counted chunk by chunk."""

    def __init__(self, sets: ConformalSets, coverage: float) -> None:
        self.sets, self.coverage = sets, coverage
        self.reason: str | None = None
        self.held: list[Tensor] = []
        self.sizes: list[Tensor] = []
        try:
            self.threshold = sets.threshold(coverage)
        except CalibrationError as error:  # too few calibration images
            self.reason = error.message

    def count(self, scores: dict[Method, Tensor], label_n: Tensor) -> None:
        if self.reason is None:
            members_nK = scores[self.sets.method] <= self.threshold
            self.held.append(members_nK.gather(1, label_n[:, None]).squeeze(1))
            self.sizes.append(members_nK.sum(dim=1))

    def figures(self, classes: int) -> SetFigures:
        measured, expected = None, None
        if self.reason is None:
            held_N, size_N = torch.cat(self.held), torch.cat(self.sizes)
            measured = coverage_of(held_N, size_N, classes, self.coverage)
            expected = self.sets.coverage_band(self.coverage)
        return SetFigures(
            method=self.sets.method,
            asked=self.coverage,
            measured=measured,
            expected=expected,
            reason=self.reason,
        )


def _risk(
    grounds: Grounds, max_risk: float, confidence_N: Tensor, correct_N: Tensor
) -> RiskFigures:
    try:
        threshold = grounds.risk(max_risk).threshold
    except CalibrationError as error:  # no threshold is proved to keep it
        return RiskFigures(
            max_risk=max_risk,
            threshold=None,
            accepted=None,
            accepted_share=None,
            risk=None,
            risk_interval=None,
            reason=error.message,
        )
    accepted_N = confidence_N >= threshold
    accepted, wrong = int(accepted_N.sum()), int((accepted_N & ~correct_N).sum())
    return RiskFigures(
        max_risk=max_risk,
        threshold=threshold,
        accepted=accepted,
        accepted_share=accepted / len(confidence_N),
        risk=wrong / accepted if accepted else None,
        risk_interval=wilson_interval(wrong, accepted) if accepted else None,
    )


def _domain(row: EvaluationDataset, calibration: Calibration | None) -> str | None:
    """Whose temperature a row takes; None for the pooled one, or where there are no domains."""
    fitted = None if calibration is None else calibration.fitted.get("domain_temperature")
    if not isinstance(fitted, DomainCalibrator):
        return None
    domain = row.domain or (OWN_DOMAIN if row.in_distribution else None)
    return domain if domain in fitted.temperatures else None


def _log_probabilities(
    calibrator: AnyCalibrator, logits_NC: Tensor, domain: str | None
) -> Tensor:
    if isinstance(calibrator, DomainCalibrator) and domain is not None:
        return calibrator.log_probabilities(logits_NC, [domain] * len(logits_NC))
    return calibrator.log_probabilities(logits_NC)
