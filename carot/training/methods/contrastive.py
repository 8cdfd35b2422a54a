"""The contrastive term that FLYP, label smoothing, CaRot and TRACER have in common."""

from __future__ import annotations

from torch import Tensor

from carot.models.clip import ClipModel
from carot.training.losses import contrastive_loss
from carot.training.methods.base import Features


def positive_labels(features: Features, positives: str) -> Tensor | None:
    """The labels that tell positives of one class, or None where each sample has but its pair."""
    return features.labels_B if positives == "class" else None


def contrastive_term(
    model: ClipModel, features: Features, positives: str, smoothing: float = 0.0
) -> Tensor:
    """The contrastive loss of a step with the positives that a spec names."""
    return contrastive_loss(
        features.images_BD,
        features.captions(),
        model.logit_scale.exp(),
        positive_labels(features, positives),
        smoothing,
    )
