from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from carot.models.clip import ClipModel
from carot.specs import DiveMethod
from carot.training.methods import Dive, Features
from tests.carot.tiny import tiny_model
from tests.carot.training import reference
from tests.carot.training.methods.batches import (
    LABELS,
    WIDTH,
    FakeEncoder,
    drawn,
    drawn_features,
    never_encodes,
    wide_model,
)


def dive(model: ClipModel | None = None, **changes: Any) -> Dive:
    return Dive(DiveMethod.model_validate(changes), model or wide_model(), 10)


@pytest.mark.parametrize("positives", ["class", "pair"])
def test_the_loss_matches_a_slow_implementation(positives: str) -> None:
    method = dive(positives=positives, weight=30.0)
    mean_D = 0.3 * drawn(WIDTH, seed=5)
    method.average.mean_D.copy_(mean_D)
    features, start = drawn_features(requires_grad=True), drawn_features(seed=1)
    labels = LABELS if positives == "class" else None
    before = start.images_BD.numpy(), start.captions().numpy()

    def slow(at: Mapping[str, np.ndarray]) -> float:
        total = reference.contrastive(at["images"], at["captions"], math.exp(2.0), labels)
        held = reference.difference_vectors(
            at["images"] - before[0], at["captions"] - before[1], mean_D.numpy()
        )
        return total + 30.0 * held

    loss = method.loss(features, start)
    leaves = {"images": features.images_BD, "captions": features.captions()}
    reference.check_slopes(loss.total, leaves, slow)
    assert set(loss.terms) == {"contrastive", "average_vector", "pairwise_vector"}


def test_the_published_constants_are_the_defaults() -> None:
    spec = DiveMethod()
    assert (spec.weight, spec.decay) == (1000.0, 0.99)


def test_embeddings_that_all_move_by_their_average_cost_nothing() -> None:
    method = dive()
    start, vector_D = drawn_features(seed=1), drawn(WIDTH, seed=2)
    method.average.mean_D.copy_(vector_D)
    moved = Features(start.images_BD + vector_D, start.captions() + vector_D, start.labels_B)
    terms = method.loss(moved, start).terms
    assert terms["average_vector"].item() == pytest.approx(0.0, abs=1e-20)
    assert terms["pairwise_vector"].item() == pytest.approx(0.0, abs=1e-20)
    # One sample that moves otherwise is seen by both.
    moved.images_BD[0] += 0.1
    terms = method.loss(moved, start).terms
    assert terms["average_vector"].item() == pytest.approx(WIDTH * 0.01 / len(LABELS))
    assert terms["pairwise_vector"].item() == pytest.approx(WIDTH * 0.01 / len(LABELS))


def test_the_average_moves_behind_each_step() -> None:
    method = dive(decay=0.9)
    start = drawn_features(seed=1)
    expected = np.zeros(WIDTH)
    for step in range(3):
        features = drawn_features(seed=10 + step)
        held_D = method.average.mean_D.clone()
        method.loss(features, start)
        # The step's own loss sees the average of those before it.
        assert torch.equal(method.average.mean_D, held_D)
        method.after_step(step)
        images = features.images_BD.numpy() - start.images_BD.numpy()
        captions = features.captions().numpy() - start.captions().numpy()
        for entry in range(WIDTH):
            seen = math.fsum([*images[:, entry], *captions[:, entry]]) / (2 * len(LABELS))
            expected[entry] = 0.9 * expected[entry] + 0.1 * seen
        np.testing.assert_allclose(method.average.mean_D.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert set(method.modules()) == {"model", "average_difference"}


def test_the_start_stays_while_both_towers_move() -> None:
    model = tiny_model()
    method = dive(model)
    images, texts = torch.rand(2, 3, 32, 32), model.tokenize(["a cat", "a dog"])

    def encode(of: ClipModel) -> Features:
        labels_B = torch.tensor([0, 1])
        with torch.no_grad():
            return Features(of.encode_images(images), of.encode_captions(texts), labels_B)

    before = encode(model)
    with torch.no_grad():
        for _, parameter in method.parameters():
            parameter.mul_(1.5)
    teacher = method.teach(0, FakeEncoder(encode))
    assert teacher is not None
    torch.testing.assert_close(teacher.images_BD, before.images_BD)
    torch.testing.assert_close(teacher.captions(), before.captions())
    assert not torch.allclose(encode(model).captions(), before.captions(), atol=1e-2)


def test_a_weight_of_zero_is_flyp() -> None:
    method = dive(weight=0.0)
    assert method.start is None
    assert method.teach(3, never_encodes) is None
    assert set(method.loss(drawn_features(), None).terms) == {"contrastive"}
    method.after_step(3)
    assert not method.average.mean_D.any()
