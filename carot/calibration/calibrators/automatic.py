"""`auto`: the calibrator that does best on images it was not fitted on.

Every kind is fitted on all folds but one and scored on that one, in turn. Of those within one
standard error of the lowest loss, the simplest is taken (Breiman et al. 1984, 3.4.3); the standard
error is that of the difference to the best, image by image, so that images that are hard for all
do not hide what is better. Small classes are spread over the folds, and a kind that leaves a class
with less than half of its right answers is left out, however well it does on the others.
Shape suffix: N images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.by_class import suppressed_class
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.calibrators.choice import Choice, Score
from carot.calibration.calibrators.fitting import (
    FITS,
    Sample,
    fit_calibrator,
    fold_of,
    sample_likelihood,
)
from carot.calibration.calibrators.origin import Origin
from carot.calibration.metrics.inputs import check
from carot.calibration.metrics.likelihood import raw_negative_log_likelihood
from carot.errors import CalibrationError

FOLDS = 5
LEAST_IN_FOLD = 2
FOR_FEW = "smoothed_temperature"
"""What is taken where images are too few to compare anything, if it is among the kinds."""


@torch.no_grad()
def choose_calibrator(
    sample: Sample,
    kinds: Sequence[str] = tuple(FITS),
    *,
    folds: int = FOLDS,
    **origin: Unpack[Origin],
) -> Choice:
    """Compare `kinds`, take one, and fit it on all images.

    A kind that cannot be fitted, for want of domains or for too many classes, is left out and
    says why. The folds depend on nothing but the labels.

    Raises:
        CalibrationError: an unknown kind, fewer than two folds, or none of the kinds can be
            fitted; empty, misshapen or non-finite input, labels out of range.
    """
    check(sample.logits_NC, sample.labels_N)
    unknown = [kind for kind in kinds if kind not in FITS]
    if unknown or not kinds or folds < 2:
        raise CalibrationError(
            f"kinds among {', '.join(FITS)} and two folds or more are needed, "
            f"not {list(kinds)} and {folds}",
            field="calibrator",
        )
    raw = float(raw_negative_log_likelihood(sample.logits_NC, sample.labels_N).mean())
    if len(sample.labels_N) < folds * LEAST_IN_FOLD:
        reason = f"{len(sample.labels_N)} images are too few for {folds} folds"
        scores = [_missing(kind, reason) for kind in kinds]
        calibrator = fit_calibrator(FOR_FEW if FOR_FEW in kinds else kinds[0], sample, **origin)
        return Choice(calibrator=calibrator, folds=0, raw_nll=raw, scores=tuple(scores))
    measured = {kind: _held_out(kind, sample, folds) for kind in FITS if kind in kinds}
    scores = compared(measured)
    chosen = next((each.kind for each in scores if _close(each)), None)
    if chosen is None:
        raise CalibrationError(f"no calibrator can be fitted: {scores[0].reason}")
    calibrator = fit_calibrator(chosen, sample, **origin)
    return Choice(calibrator=calibrator, folds=folds, raw_nll=raw, scores=tuple(scores))


def compared(measured: dict[str, Tensor | str]) -> list[Score]:
    """Scores from each kind's losses per image, or from the reason why there are none."""
    losses = {kind: loss_N for kind, loss_N in measured.items() if isinstance(loss_N, Tensor)}
    means = {kind: float(loss_N.mean()) for kind, loss_N in losses.items()}
    best = min(means, key=lambda kind: means[kind], default=None)
    scores = []
    for kind, found in measured.items():
        if best is None or isinstance(found, str):
            scores.append(_missing(kind, str(found)))
            continue
        difference_N = found - losses[best]
        error = float(difference_N.std()) / math.sqrt(len(found))
        scores.append(
            Score(
                kind=kind,
                nll=means[kind],
                behind=means[kind] - means[best],
                behind_standard_error=error,
            )
        )
    return scores


def _close(score: Score) -> bool:
    """Whether a score is within one standard error of the best."""
    if score.behind is None or score.behind_standard_error is None:
        return False
    return score.behind <= score.behind_standard_error


def _missing(kind: str, reason: str) -> Score:
    return Score(kind=kind, nll=None, behind=None, behind_standard_error=None, reason=reason)


def _held_out(kind: str, sample: Sample, folds: int) -> Tensor | str:
    """Losses (N), each by a calibrator that has not seen the image; a reason if there is none."""
    device = sample.logits_NC.device
    fold_N = fold_of(sample.labels_N, folds).to(device)
    right_N = sample.logits_NC.argmax(dim=1) == sample.labels_N
    after_N = right_N.clone()
    losses_N = torch.zeros(len(fold_N), dtype=torch.float64, device=device)
    for fold in range(folds):
        held_n, others_n = (fold_N == fold).nonzero()[:, 0], (fold_N != fold).nonzero()[:, 0]
        try:
            fitted: AnyCalibrator = fit_calibrator(kind, sample.take(others_n))
        except CalibrationError as error:
            return error.message
        held = sample.take(held_n)
        losses_N[held_n] = sample_likelihood(fitted, held)
        if not fitted.keeps_ranking:
            answer_n = fitted.log_probabilities(held.logits_NC).argmax(dim=1)
            after_N[held_n] = answer_n == held.labels_N
    return suppressed_class(right_N, after_N, sample.labels_N) or losses_N
