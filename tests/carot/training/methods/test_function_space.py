from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from carot.models.clip import ClipModel
from carot.specs import FunctionSpaceMethod
from carot.training.anchors import each_filtered
from carot.training.methods import Features, FunctionSpace
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


def function_space(seed: int = 0, model: ClipModel | None = None, **changes: Any) -> FunctionSpace:
    spec = FunctionSpaceMethod(**changes)
    return FunctionSpace(spec, model or wide_model(), 10, drawn(3, WIDTH), seed)


def unit(seed: int) -> Tensor:
    return F.normalize(drawn(len(LABELS), WIDTH, seed=seed), dim=-1)


def with_simulated(features: Features, simulated_BD: Tensor) -> Features:
    return Features(features.images_BD, None, features.labels_B, simulated_BD)


@pytest.mark.parametrize("weights", [(0.7, 0.4), (0.7, 0.0), (0.0, 0.4)])
def test_the_loss_matches_a_slow_implementation(weights: tuple[float, float]) -> None:
    on_function, on_consistency = weights
    method = function_space(function_weight=on_function, consistency_weight=on_consistency)
    start_BD, simulated_BD = unit(3), unit(4).requires_grad_()
    encode = FakeEncoder(beside=lambda _: start_BD)
    assert method.teach(0, encode) is None
    assert len(encode.asked) == (on_function > 0)
    features = with_simulated(drawn_features(requires_grad=True), simulated_BD)
    start_head, clean_head = drawn(3, WIDTH).numpy(), drawn(3, WIDTH, seed=9)
    with torch.no_grad():
        method.classifier.weight.copy_(clean_head)
    before = reference.similarities(start_BD.numpy(), start_head, 1.0)
    # The clean side of the consistency has no gradient: it is held at what it is now.
    clean = reference.similarities(features.images_BD.detach().numpy(), clean_head.numpy(), 1.0)

    def slow(at: Mapping[str, np.ndarray]) -> float:
        table = reference.similarities(at["images"], at["head"], 1.0)
        simulated = reference.similarities(at["simulated"], at["head"], 1.0)
        return (
            reference.classify(table, LABELS)
            + on_function * reference.probability_distance(simulated, before)
            + on_consistency * reference.divergence(simulated, clean)
        )

    loss = method.loss(features, None)
    leaves = {
        "images": features.images_BD,
        "simulated": simulated_BD,
        "head": method.classifier.weight,
    }
    reference.check_slopes(loss.total, leaves, slow)
    terms = {"function": on_function, "consistency": on_consistency}
    assert set(loss.terms) == {"cross_entropy"} | {name for name, w in terms.items() if w > 0}


def test_a_student_that_has_not_moved_is_at_no_distance() -> None:
    method = function_space()
    simulated_BD = unit(4)
    method.teach(0, FakeEncoder(beside=lambda _: simulated_BD))
    loss = method.loss(with_simulated(drawn_features(), simulated_BD), None)
    assert loss.terms["function"].item() == 0.0
    same = method.loss(with_simulated(drawn_features(), drawn_features().images_BD), None)
    assert same.terms["consistency"].item() == pytest.approx(0.0, abs=1e-12)


def test_simulated_images_are_a_function_of_images_seed_and_step_alone() -> None:
    images_NCHW = torch.rand(4, 3, 8, 8)
    kept: dict[tuple[int, int], Tensor] = {}
    for torch_seed, steps in ((1, (0, 1, 2)), (2, (2, 0, 1))):
        torch.manual_seed(torch_seed)
        for seed in (0, 7):
            method = function_space(seed)
            for step in steps:
                found = method.anchors(step, images_NCHW)
                assert found is not None
                assert found.shape == images_NCHW.shape
                assert torch.equal(kept.setdefault((seed, step), found), found)
    expected = each_filtered(images_NCHW, torch.Generator().manual_seed(7 * 1_000_003 + 2))
    assert torch.equal(kept[7, 2], expected)
    values = list(kept.values())
    for index, value in enumerate(values):
        assert not any(torch.equal(value, other) for other in values[:index])


def test_the_start_stays_while_the_image_tower_moves() -> None:
    model = tiny_model()
    method = function_space(model=model)
    images = torch.rand(2, 3, 32, 32)
    before_BC = model.encode_images(images).detach() @ method.start_weight_CD.float().t()
    model.module.train()
    with torch.no_grad():
        for _, parameter in method.parameters():
            parameter.mul_(1.5)
    method.start_weight_CD = method.start_weight_CD.float()
    with torch.no_grad():
        method.teach(5, FakeEncoder(beside=lambda of: of.encode_images(images)))
    assert method.answers_BC is not None
    torch.testing.assert_close(method.answers_BC, before_BC)
    assert set(method.modules()) == {"model", "classifier"}


def test_weights_of_zero_are_plain_fine_tuning() -> None:
    method = function_space(function_weight=0.0, consistency_weight=0.0)
    assert method.start is None
    assert method.anchors(0, torch.rand(4, 3, 8, 8)) is None
    assert method.teach(3, never_encodes) is None
    assert set(method.loss(drawn_features(), None).terms) == {"cross_entropy"}
