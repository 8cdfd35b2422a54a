"""Calibration evidence applied to one data set: prediction sets, and accepted answers.

Shape suffixes: N images (n of them in a chunk), K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.metrics.inputs import check, chunks
from carot.calibration.metrics.intervals import wilson_interval
from carot.calibration.sets.calibration_evidence import CalibrationEvidence
from carot.calibration.sets.conformal import ConformalSets, class_coverages, coverage_of
from carot.calibration.sets.conformal_scores import Regularisation, scores_of, within
from carot.calibration.sets.coverage import Method
from carot.data.label_space import LabelSpace
from carot.errors import CalibrationError
from carot.evaluation.figures import LISTED_CLASSES, RiskFigures, SetFigures
from carot.specs import CalibrationSpec


@dataclass(frozen=True)
class EvidenceFigures:
    """What prediction sets and risk thresholds do on one data set; nothing without evidence."""

    sets: tuple[SetFigures, ...] = ()
    risks: tuple[RiskFigures, ...] = ()


@torch.no_grad()
def evidence_figures(
    evidence: CalibrationEvidence,
    raw_NK: Tensor,
    labels_N: Tensor,
    asked: CalibrationSpec | None = None,
    space: LabelSpace | None = None,
) -> EvidenceFigures:
    """Coverage and size of sets by every method, and what each risk's threshold accepts.

    Args:
        raw_NK: logits, restricted to the classes of `space`.
        space: the data set's classes; None for the classifier's own.

    Raises:
        CalibrationError: misshapen, empty or non-finite input, labels out of range.
    """
    check(raw_NK, labels_N)
    asked = asked or CalibrationSpec()
    space, classes = space or LabelSpace(()), raw_NK.shape[1]
    counted = [
        _Sets(sets, coverage, space, classes)
        for sets in evidence.sets.values()
        for coverage in asked.coverages
    ]
    rules = {
        method: Regularisation(sets.penalty, sets.free_ranks)
        for method, sets in evidence.sets.items()
    }
    confidences, corrects = [], []
    for logits_nK, label_n in chunks(raw_NK, labels_N):
        raw_nK = logits_nK.softmax(dim=1)
        confidences.append(raw_nK.amax(dim=1))
        corrects.append(logits_nK.argmax(dim=1) == label_n)
        scores = scores_of(raw_nK, rules)
        for each in counted:
            each.count(scores, label_n)
    confidence_N, correct_N = torch.cat(confidences), torch.cat(corrects)
    return EvidenceFigures(
        tuple(each.figures(labels_N) for each in counted),
        tuple(_risk(evidence, risk, confidence_N, correct_N) for risk in asked.max_risks),
    )


class _Sets:
    """Sets of one method at one coverage, counted chunk by chunk."""

    def __init__(
        self, sets: ConformalSets, coverage: float, space: LabelSpace, classes: int
    ) -> None:
        self.sets, self.coverage, self.classes = sets, coverage, classes
        self.names = space.classes or tuple(map(str, range(classes)))
        self.reason: str | None = None
        self.held: list[Tensor] = []
        self.sizes: list[Tensor] = []
        try:
            self.threshold_K = _thresholds(sets, coverage, space, classes)
        except CalibrationError as error:  # too few calibration images
            self.reason = error.message

    def count(self, scores: dict[Method, Tensor], label_n: Tensor) -> None:
        if self.reason is None:
            members_nK = within(scores[self.sets.method], self.threshold_K)
            self.held.append(members_nK.gather(1, label_n[:, None]).squeeze(1))
            self.sizes.append(members_nK.sum(dim=1))

    def figures(self, labels_N: Tensor) -> SetFigures:
        method, asked = self.sets.method, self.coverage
        if self.reason is not None:
            return SetFigures(
                method=method, asked=asked, measured=None, expected=None, reason=self.reason
            )
        held_N, size_N = torch.cat(self.held), torch.cat(self.sizes)
        return SetFigures(
            method=method,
            asked=asked,
            measured=coverage_of(held_N, size_N, self.classes, asked),
            expected=self.sets.coverage_band(asked),
            classes=class_coverages(held_N, labels_N, self.names, LISTED_CLASSES),
        )


def _thresholds(sets: ConformalSets, coverage: float, space: LabelSpace, classes: int) -> Tensor:
    """Of each of K classes: the highest of those of the classifier that it stands for."""
    if space.members is None:
        return sets.thresholds(coverage, classes)
    own_C = sets.thresholds(coverage, 1 + max(max(each) for each in space.members))
    return torch.stack([own_C[list(each)].amax() for each in space.members])


def _risk(
    evidence: CalibrationEvidence, max_risk: float, confidence_N: Tensor, correct_N: Tensor
) -> RiskFigures:
    try:
        threshold = evidence.risk(max_risk).threshold
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
