from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from carot.specs import CarotMethod, TeacherSpec
from carot.training.methods import Carot
from tests.carot.training import reference
from tests.carot.training.methods.batches import (
    LABELS,
    FakeEncoder,
    drawn_features,
    never_encodes,
    wide_model,
)

SWITCHES = list(itertools.product([False, True], repeat=3))


def weights(orthogonal: bool, distilled: bool, crossed: bool) -> dict[str, float]:
    return {
        "orthogonality_weight": 0.2 * orthogonal,
        "distillation_weight": 1.5 * distilled,
        "cross_norm_weight": 0.05 * crossed,
    }


@pytest.mark.parametrize("positives", ["class", "pair"])
@pytest.mark.parametrize("switches", SWITCHES)
def test_each_combination_of_terms_matches_a_slow_implementation(
    switches: tuple[bool, bool, bool], positives: str
) -> None:
    spec = CarotMethod.model_validate({"positives": positives, **weights(*switches)})
    model = wide_model()
    method = Carot(spec, model, 10)
    features, teacher = drawn_features(requires_grad=True), drawn_features(seed=1)
    if method.teacher is not None:
        method.teacher.module.get_parameter("logit_scale").fill_(1.5)
    loss = method.loss(features, teacher if method.teacher is not None else None)
    labels = LABELS if positives == "class" else None
    taught = reference.similarities(
        teacher.images_BD.numpy(), teacher.captions().numpy(), math.exp(1.5)
    )

    def slow(at: Mapping[str, np.ndarray]) -> float:
        scale = math.exp(at["log_scale"])
        logits = reference.similarities(at["images"], at["captions"], scale)
        return (
            reference.contrastive(at["images"], at["captions"], scale, labels)
            + spec.orthogonality_weight * reference.orthogonality(at["visual"].T, "squared")
            + spec.cross_norm_weight * reference.cross_norm(at["visual"], at["text"], "unsquared")
            + spec.distillation_weight * reference.distillation(logits, taught)
        )

    leaves = {
        "images": features.images_BD,
        "captions": features.captions(),
        "log_scale": model.logit_scale,
        "visual": model.visual_projection(),
        "text": model.text_projection(),
    }
    reference.check_slopes(loss.total, leaves, slow)
    orthogonal, distilled, crossed = switches
    expected = {"contrastive"}
    expected |= {"orthogonality"} if orthogonal else set()
    expected |= {"distillation"} if distilled else set()
    expected |= {"cross_norm"} if crossed else set()
    assert set(loss.terms) == expected


def test_what_is_switched_off_costs_nothing() -> None:
    model = wide_model()
    model.module.get_submodule("visual").register_parameter("proj", None)
    model.module.register_parameter("text_projection", None)
    off = CarotMethod.model_validate(weights(False, False, False))
    method = Carot(off, model, 10)
    assert method.teacher is None
    assert set(method.modules()) == {"model"}
    assert method.teach(3, never_encodes) is None
    # Neither projection exists: a term that looked for one would fail.
    method.loss(drawn_features(), None)
    method.after_step(0)


@pytest.mark.parametrize(
    ("missing", "left_out"),
    [
        ("visual.proj", ("orthogonality", "cross_norm")),
        ("text_projection", ("cross_norm",)),
    ],
)
def test_a_constraint_on_a_map_that_is_not_there_is_left_out_and_said(
    missing: str, left_out: tuple[str, ...]
) -> None:
    model = wide_model()
    owner, _, name = missing.rpartition(".")
    model.module.get_submodule(owner).register_parameter(name, None)
    method = Carot(CarotMethod(), model, 10)
    [warning] = method.warnings
    assert (warning.code, warning.names) == ("terms_left_out", left_out)
    terms = method.loss(drawn_features(), None).terms
    assert set(terms) == {"contrastive", "cross_norm", "orthogonality"} - set(left_out)
    off = {"orthogonality_weight": 0.0, "cross_norm_weight": 0.0}
    assert Carot(CarotMethod.model_validate(off), model, 10).warnings == []


@pytest.mark.parametrize("kind", ["momentum", "trajectory"])
def test_either_teacher_teaches_from_the_second_step_on(kind: str) -> None:
    spec = CarotMethod(teacher=TeacherSpec.model_validate({"kind": kind, "update_every": 2}))
    model = wide_model()
    method = Carot(spec, model, 10)
    assert method.teacher is not None
    assert method.teach(0, never_encodes) is None
    given = drawn_features()
    encode = FakeEncoder(lambda _: given)
    assert method.teach(1, encode) is given
    assert encode.asked == [method.teacher.module]
    start = method.teacher.module.get_parameter("visual.proj").clone()
    with torch.no_grad():
        model.visual_projection().add_(1.0)
    method.after_step(1)
    assert torch.equal(method.teacher.module.get_parameter("visual.proj"), start)
    method.after_step(2)
    moved = method.teacher.module.get_parameter("visual.proj") - start
    share = method.teacher.share(2)
    torch.testing.assert_close(moved, torch.full_like(moved, share))
    assert method.outcome().module is model.module
