"""Conf-OT: prediction sets for many images at once, after optimal transport onto the classes.

Silva-Rodríguez et al. 2025 (CVPR, arXiv 2505.24693). Calibration images and those that are asked
about are taken together, without labels. Of their logits z, Sinkhorn's iterations (Cuturi 2013)
make the transport plan with entropy weight ε = 1 that gives every image the same mass and the
classes the shares m:

    Q = exp(z / ε);    3 times:  Q_ik ← Q_ik m_k / Σ_j Q_jk,   Q_ik ← Q_ik / Σ_l Q_il

Its rows are the new probabilities, which LAC turns into sets as ever. With equal shares, or others
that no label has a part in, all images are treated alike, and sets cover what split conformal
prediction promises; they are small where classes are about equally frequent. The paper takes the
shares of the calibration labels (`shares="observed"`, here with one more of each class, so that
none is impossible). Those fit the calibration images better than the others: of 200 splits with 400
calibration images of 10 classes, sets for 0.95 then hold 0.945 on average, so this is no default.
What is said of an image depends on the others that are asked about with it.
Shape suffixes: N calibration images, M images that are asked about, C classes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from carot.calibration.metrics.inputs import check
from carot.calibration.sets.conformal import fit_conformal
from carot.errors import CalibrationError

EPSILON = 1.0
ITERATIONS = 3
"""Constants of the paper."""
MOST_NUMBERS = 50_000_000
"""Images times classes, calibration images among them: 400 MB for a matrix, of which two are
needed at a time."""

Shares = Literal["observed", "equal"]


@torch.no_grad()
def transported(logits_NC: Tensor, share_C: Tensor) -> Tensor:
    """Log-probabilities (N, C), float64, after transport onto classes of given shares.

    Args:
        logits_NC: finite logits of all images together.
        share_C: of the classes, above 0 and summing to 1.

    Raises:
        CalibrationError: shares or logits that are none; more than `MOST_NUMBERS` numbers (`field`
            is `images`).
    """
    if logits_NC.ndim != 2 or 0 in logits_NC.shape or share_C.shape != logits_NC.shape[1:]:
        raise CalibrationError("logits (N, C) and a share of each class are needed")
    if logits_NC.numel() > MOST_NUMBERS:
        most = MOST_NUMBERS // logits_NC.shape[1]
        raise CalibrationError(
            f"{len(logits_NC)} images, the calibration images among them, are too many to be taken "
            f"together: with {logits_NC.shape[1]} classes at most {most}",
            field="images",
        )
    share_C = share_C.double()
    if not bool((share_C > 0).all()) or not math.isclose(float(share_C.sum()), 1, abs_tol=1e-6):
        raise CalibrationError("shares of classes are above 0 and sum to 1")
    if not bool(logits_NC.isfinite().all()):
        raise CalibrationError("logits must be finite")
    # In logarithms: exponentials of logits of a few hundred would overflow.
    plan_NC = logits_NC.double() / EPSILON
    for _ in range(ITERATIONS):
        plan_NC += share_C.log() - plan_NC.logsumexp(dim=0)
        plan_NC -= plan_NC.logsumexp(dim=1, keepdim=True)
    return plan_NC


@torch.no_grad()
def transported_sets(
    calibration_NC: Tensor,
    labels_N: Tensor,
    logits_MC: Tensor,
    coverage: float,
    shares: Shares = "equal",
) -> Tensor:
    """Which classes are in each image's set, bool, (M, C); the top class after transport always is.

    Args:
        calibration_NC, labels_N: logits and class indices of images that were not trained on.
        logits_MC: of the images that are asked about, exchangeable with those.
        coverage: share of images whose set holds the right class.
        shares: of the classes, equal or those of the calibration labels.

    Raises:
        CalibrationError: see `transported` and `ConformalSets.threshold`; empty, misshapen or
            non-finite input, labels out of range.
    """
    check(calibration_NC, labels_N)
    images, classes = calibration_NC.shape
    if logits_MC.ndim != 2 or logits_MC.shape[1] != classes:
        raise CalibrationError(f"logits of {classes} classes, not {tuple(logits_MC.shape)}")
    if shares == "observed":
        count_C = torch.bincount(labels_N.long(), minlength=classes).double() + 1
    else:
        count_C = torch.ones(classes, dtype=torch.float64)
    share_C = (count_C / count_C.sum()).to(calibration_NC.device)
    probabilities_NC = transported(torch.cat([calibration_NC, logits_MC]), share_C).exp_()
    fitted = fit_conformal(probabilities_NC[:images], labels_N, "lac")
    return fitted.sets(probabilities_NC[images:], coverage)
