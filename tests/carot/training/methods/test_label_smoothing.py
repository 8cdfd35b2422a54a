from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from carot.specs import FlypMethod, LabelSmoothingMethod
from carot.training.methods import Flyp, LabelSmoothing
from tests.carot.training import reference
from tests.carot.training.methods.batches import LABELS, drawn_features, wide_model


@pytest.mark.parametrize("positives", ["class", "pair"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_the_loss_matches_a_slow_implementation(positives: str, smoothing: float) -> None:
    """Without smoothing, it is FLYP."""
    model = wide_model()
    document = {"positives": positives}
    method = (
        LabelSmoothing(
            LabelSmoothingMethod.model_validate({**document, "smoothing": smoothing}), model, 10
        )
        if smoothing
        else Flyp(FlypMethod.model_validate(document), model, 10)
    )
    features = drawn_features(requires_grad=True)
    labels = LABELS if positives == "class" else None

    def slow(at: Mapping[str, np.ndarray]) -> float:
        scale = math.exp(at["log_scale"])
        return reference.contrastive(at["images"], at["captions"], scale, labels, smoothing)

    loss = method.loss(features, None)
    leaves = {
        "images": features.images_BD,
        "captions": features.captions(),
        "log_scale": model.logit_scale,
    }
    reference.check_slopes(loss.total, leaves, slow)
    assert torch.equal(loss.total, loss.terms["contrastive"])
