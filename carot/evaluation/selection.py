"""Choosing among checkpoints by in-distribution quantities alone.

CaRot's Theorem 3.1 bounds errors under shift by the calibration error in distribution plus a term
that grows as the smallest singular value of the features shrinks. As a number the bound says
nothing (see `carot.evaluation.bound`); as an order it can choose, and docs/bound.md has what that
was worth. N images, C classes, D embedding width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from carot.evaluation.bound import id_calibration_error, smallest_singular_value
from carot.specs import Rule


@dataclass(frozen=True)
class Judgement:
    """What one candidate shows on the selection split.

    Attributes:
        accuracy: share of right answers.
        nll: mean negative log-likelihood, in nats.
        calibration_error: squared, of the top label, debiased (`carot.evaluation.bound`).
        sigma_min: smallest singular value of the features' correlation matrix, 0 to 1.
    """

    accuracy: float
    nll: float
    calibration_error: float
    sigma_min: float

    @classmethod
    @torch.no_grad()
    def of(cls, logits_NC: Tensor, labels_N: Tensor, features_ND: Tensor) -> Judgement:
        """Measured on one set.

        Raises:
            CalibrationError: empty, misshapen or non-finite input, labels out of range.
        """
        error = id_calibration_error(logits_NC, labels_N)
        logits_NC = logits_NC.double()
        return cls(
            accuracy=float((logits_NC.argmax(dim=1) == labels_N).double().mean()),
            nll=float(F.cross_entropy(logits_NC, labels_N)),
            calibration_error=error,
            sigma_min=smallest_singular_value(features_ND),
        )


def score(rule: Rule, judgement: Judgement) -> float:
    """What a rule goes by; the candidate with the lowest score is kept.

    `accuracy`: 1 − accuracy. `nll`: the mean negative log-likelihood. `bound`: see `bound_score`.
    """
    match rule:
        case "accuracy":
            return 1.0 - judgement.accuracy
        case "nll":
            return judgement.nll
        case "bound":
            return bound_score(judgement)


def bound_score(judgement: Judgement) -> float:
    """The bound's two terms on one scale; infinite where the features do not span their space."""
    if judgement.sigma_min <= 0.0:
        return math.inf
    return judgement.calibration_error - math.log(judgement.sigma_min)
