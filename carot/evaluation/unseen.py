"""From confidences and distances of known and unseen images to what a report says of them.

Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from carot.calibration.calibration import Calibration
from carot.calibration.sets.shift_score import own_distances
from carot.calibration.sets.unseen_names import ACCEPTED, SCORES, Score
from carot.calibration.sets.unseen_score import UnseenScore, fit_unseen_score
from carot.evaluation.evaluate import Outputs
from carot.evaluation.separation import auroc, false_acceptance
from carot.evaluation.unseen_figures import (
    ScoreChoice,
    SeparationFigures,
    UnseenReport,
    UnseenRow,
)
from carot.specs import EvaluationDataset


@dataclass(frozen=True)
class Likeness:
    """How images look to a classifier.

    Attributes:
        keys: their names.
        confidence_N: largest probability, calibrated if there is a calibrator; float64.
        distance_N: from the calibration images; None where there is no shift score.
    """

    keys: tuple[str, ...]
    confidence_N: Tensor
    distance_N: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(cls, outputs: Outputs, calibration: Calibration | None) -> Likeness:
        """Without a domain: nobody says where an unseen thing comes from."""
        score = None if calibration is None else calibration.shift_score
        return cls(
            outputs.keys,
            top_confidences(outputs.logits_NC, calibration),
            None if score is None else score.distances(outputs.features_ND),
        )

    def halves(self) -> tuple[Likeness, Likeness]:
        """Those to report and those to choose by, as many or one fewer, by a hash of their names.

        So they are the same in every run, whatever the order of the images.
        """
        hashed = [hashlib.sha256(key.encode()).digest() for key in self.keys]
        order = sorted(range(len(hashed)), key=lambda i: (hashed[i], self.keys[i]))
        middle = (len(order) + 1) // 2
        return self._some(order[:middle]), self._some(order[middle:])

    def values(self, reference: UnseenScore | None) -> dict[Score, Tensor]:
        """Every score that there is."""
        if reference is None or self.distance_N is None:
            return {"confidence": -self.confidence_N}
        return reference.values(self.confidence_N, self.distance_N)

    def _some(self, places: Sequence[int]) -> Likeness:
        at = torch.tensor(places, dtype=torch.int64)
        distance_N = None if self.distance_N is None else self.distance_N[at]
        return Likeness(tuple(self.keys[i] for i in places), self.confidence_N[at], distance_N)


@dataclass(frozen=True)
class UnseenImages:
    """A row of the report to be: its images, their classes, and what could not be read."""

    row: EvaluationDataset
    classes: tuple[str, ...]
    likeness: Likeness
    skipped: tuple[str, ...]


@torch.no_grad()
def top_confidences(logits_NC: Tensor, calibration: Calibration | None) -> Tensor:
    """Largest probabilities by the checkpoint's own calibrator, float64, (N)."""
    if calibration is None:
        return logits_NC.double().softmax(dim=1).amax(dim=1)
    highest_N: Tensor = calibration.calibrator.probabilities(logits_NC).double().amax(dim=1)
    return highest_N.clamp_max(1.0)


def usual_scores(outputs: Outputs, calibration: Calibration) -> UnseenScore | None:
    """What is usual for the calibration images; None without a shift score."""
    score = calibration.shift_score
    if score is None:
        return None
    distance_N = score.distances(outputs.features_ND)
    if len(distance_N) == len(score.distances_N):
        # The score's own images are each seen from the others; as they are they lie too near.
        own_N = own_distances(outputs.features_ND)
        if torch.allclose(own_N.sort().values, score.distances_N, rtol=1e-3):
            distance_N = own_N
    confidence_N = top_confidences(outputs.logits_NC, calibration)
    return fit_unseen_score(confidence_N, distance_N, split=score.split)


def unseen_report(
    name: str, known: Likeness, unseen: Sequence[UnseenImages], reference: UnseenScore | None
) -> UnseenReport:
    """The figures of half of the images; by the other half a score is chosen, unless one is.

    Args:
        name: of the data set in distribution.
        known: its images.
        reference: what is usual for calibration images; None where only confidence is there.
    """
    reported, choosing = known.halves()
    halves = [each.likeness.halves() for each in unseen]
    choice: tuple[ScoreChoice, ...] = ()
    chosen = None if reference is None else reference.chosen
    if reference is not None and chosen is None:
        choice = _compared(choosing, [half for _, half in halves], reference)
        best = max(choice, key=lambda each: each.auroc, default=None)
        chosen = best.score if best is not None and best.auroc > 0.5 else None
        reference = reference.serving(chosen)
    rows = tuple(
        _row(each, reported, half, reference)
        for each, (half, _) in zip(unseen, halves, strict=True)
    )
    return UnseenReport(known=name, rows=rows, chosen=chosen, choice=choice)


def _compared(
    known: Likeness, unseen: Sequence[Likeness], reference: UnseenScore
) -> tuple[ScoreChoice, ...]:
    """The AUROC of every score, mean over the data sets that have images to choose by."""
    some = [each.values(reference) for each in unseen if each.keys]
    if not some or not known.keys:
        return ()
    own = known.values(reference)
    areas = {score: [auroc(own[score], each[score])[0] for each in some] for score in SCORES}
    return tuple(ScoreChoice(score=score, auroc=fmean(found)) for score, found in areas.items())


def _row(
    images: UnseenImages, known: Likeness, unseen: Likeness, reference: UnseenScore | None
) -> UnseenRow:
    row, own, others = images.row, known.values(reference), unseen.values(reference)
    return UnseenRow(
        name=row.name,
        dataset=row.dataset,
        split=row.split,
        shift=row.shift,
        severity=row.severity if row.shift is not None else None,
        classes=images.classes,
        images=len(unseen.keys),
        known_images=len(known.keys),
        skipped=images.skipped,
        scores=tuple(_figures(score, own[score], others[score]) for score in others),
        abstained=_abstained(unseen, reference),
        known_abstained=_abstained(known, reference),
    )


def _figures(score: Score, known_M: Tensor, unseen_N: Tensor) -> SeparationFigures:
    area, area_interval = auroc(known_M, unseen_N)
    share, share_interval = false_acceptance(known_M, unseen_N, ACCEPTED)
    return SeparationFigures(
        score=score,
        auroc=area,
        auroc_interval=area_interval,
        fpr95=share,
        fpr95_interval=share_interval,
    )


def _abstained(images: Likeness, reference: UnseenScore | None) -> float | None:
    if reference is None or reference.chosen is None or images.distance_N is None:
        return None
    percentile_N = reference.percentiles(images.confidence_N, images.distance_N)
    return float((percentile_N > ACCEPTED).double().mean())
