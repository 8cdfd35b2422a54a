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
from carot.calibration.sets.conformal import ConformalSets, coverage_of
from carot.calibration.sets.conformal_scores import Regularisation, scores_of
from carot.calibration.sets.coverage import Method
from carot.errors import CalibrationError
from carot.evaluation.figures import RiskFigures, SetFigures
from carot.specs import CalibrationSpec


@dataclass(frozen=True)
class EvidenceFigures:
    """What prediction sets and risk thresholds do on one data set."""

    sets: tuple[SetFigures, ...]
    risks: tuple[RiskFigures, ...]


@torch.no_grad()
def evidence_figures(
    evidence: CalibrationEvidence,
    raw_NK: Tensor,
    labels_N: Tensor,
    asked: CalibrationSpec | None = None,
) -> EvidenceFigures:
    """Coverage and size of sets by every method, and what each risk's threshold accepts.

    Raises:
        CalibrationError: misshapen, empty or non-finite input, labels out of range.
    """
    check(raw_NK, labels_N)
    asked = asked or CalibrationSpec()
    counted = [
        _Sets(sets, coverage) for sets in evidence.sets.values() for coverage in asked.coverages
    ]
    rules = {
        method: Regularisation(sets.penalty, sets.free_ranks)
        for method, sets in evidence.sets.items()
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
    return EvidenceFigures(
        tuple(each.figures(raw_NK.shape[1]) for each in counted),
        tuple(_risk(evidence, risk, confidence_N, correct_N) for risk in asked.max_risks),
    )


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
