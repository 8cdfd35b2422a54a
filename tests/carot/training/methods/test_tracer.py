from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from carot.specs import TeacherSpec, TracerMethod
from carot.training.methods import Tracer
from carot.training.teachers import MomentumTeacher, TrajectoryTeacher
from tests.carot.training import reference
from tests.carot.training.methods.batches import (
    LABELS,
    WIDTH,
    drawn_features,
    never_encodes,
    wide_model,
)

TERMS = ("feature", "relation", "interaction", "cross")
ALL = {f"{name}_weight": weight for name, weight in zip(TERMS, (200.0, 0.7, 1.3, 0.4), strict=True)}


@pytest.mark.parametrize("positives", ["class", "pair"])
@pytest.mark.parametrize("on", [(), *((name,) for name in TERMS), TERMS])
def test_each_combination_of_terms_matches_a_slow_implementation(
    on: tuple[str, ...], positives: str
) -> None:
    weights = {key: ALL[key] if key.removesuffix("_weight") in on else 0.0 for key in ALL}
    spec = TracerMethod.model_validate(
        {"positives": positives, "orthogonality_weight": 0.1, **weights}
    )
    model = wide_model()
    method = Tracer(spec, model, 10)
    assert (method.teacher is None) == (not on)
    if method.teacher is not None:
        method.teacher.module.get_parameter("logit_scale").fill_(1.5)
    features, teacher = drawn_features(requires_grad=True), drawn_features(seed=1)
    loss = method.loss(features, teacher if on else None)
    labels = LABELS if positives == "class" else None
    ti, tt = teacher.images_BD.numpy(), teacher.captions().numpy()
    taught = reference.similarities(ti, tt, math.exp(1.5))

    def slow(at: Mapping[str, np.ndarray]) -> float:
        i, c, scale = at["images"], at["captions"], math.exp(at["log_scale"])
        total = reference.contrastive(i, c, scale, labels)
        total += 0.05 * reference.cross_norm(at["visual"], at["text"], "unsquared")
        total += 0.1 * reference.orthogonality(at["visual"].T, "squared")
        distilled = spec.feature_weight * reference.feature(i, c, ti, tt)
        logits = reference.similarities(i, c, scale)
        distilled += spec.relation_weight * reference.distillation(logits, taught) / 2
        distilled += spec.interaction_weight * reference.interaction(i, c, ti, tt, scale, labels)
        distilled += spec.cross_weight * reference.cross(i, c, ti, tt, scale, math.exp(1.5))
        return total + 0.9 * distilled

    leaves = {
        "images": features.images_BD,
        "captions": features.captions(),
        "log_scale": model.logit_scale,
        "visual": model.visual_projection(),
        "text": model.text_projection(),
    }
    reference.check_slopes(loss.total, leaves, slow)
    assert set(loss.terms) == {"contrastive", "cross_norm", "orthogonality", *on}


def test_the_papers_constants_are_reached_by_weights() -> None:
    """FD with a sum over the width, CRD without a half: weights D and 2."""
    spec = TracerMethod.model_validate(
        {
            "distillation_weight": 1.0,
            "feature_weight": WIDTH,
            "relation_weight": 2.0,
            "interaction_weight": 0.0,
            "cross_weight": 0.0,
            "cross_norm_weight": 0.0,
        }
    )
    model = wide_model()
    method = Tracer(spec, model, 10)
    features, teacher = drawn_features(), drawn_features(seed=1)
    loss = method.loss(features, teacher)
    arrays = [f.numpy() for side in (features, teacher) for f in (side.images_BD, side.captions())]
    si, st, ti, tt = arrays
    scale = math.exp(2.0)
    summed = (reference.squares(si - ti) + reference.squares(st - tt)) / len(LABELS)
    relation = reference.distillation(
        reference.similarities(si, st, scale), reference.similarities(ti, tt, scale)
    )
    expected = float(loss.terms["contrastive"].detach()) + summed + relation
    assert loss.total.item() == pytest.approx(expected, rel=1e-10)


def test_no_distillation_makes_no_teacher() -> None:
    method = Tracer(TracerMethod(distillation_weight=0.0), wide_model(), 10)
    assert method.teacher is None
    assert set(method.modules()) == {"model"}
    assert method.teach(5, never_encodes) is None
    terms = method.loss(drawn_features(), None).terms
    assert set(terms) == {"contrastive", "cross_norm"}


def test_the_teacher_is_of_the_kind_that_the_spec_names() -> None:
    usual = Tracer(TracerMethod(), wide_model(), 10).teacher
    assert isinstance(usual, TrajectoryTeacher)
    assert usual.update_every == 1
    spec = TracerMethod(teacher=TeacherSpec(kind="momentum", final_momentum=0.5))
    other = Tracer(spec, wide_model(), 200).teacher
    assert isinstance(other, MomentumTeacher)
    assert other.update_every == 4
    assert other.share(199) == 0.5


def test_the_first_step_is_taught_nothing() -> None:
    method = Tracer(TracerMethod(), wide_model(), 10)
    assert method.teach(0, never_encodes) is None
    features = drawn_features(requires_grad=True)
    assert not set(method.loss(features, None).terms) & set(TERMS)
    assert torch.is_tensor(method.loss(features, drawn_features(seed=1)).terms["feature"])
