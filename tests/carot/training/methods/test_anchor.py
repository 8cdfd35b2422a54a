from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from carot.errors import Interrupted
from carot.run import never
from carot.specs import AnchorSpec, CarotMethod
from carot.training.anchors import random_filters
from carot.training.encoder import StepEncoder
from carot.training.methods import Carot, Features
from carot.training.methods.anchor import LOOKED_AT, Anchor
from carot.training.trainer import look
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
from tests.carot.training.whole_runs import Run

CLASSES = 3
PLAIN = {"orthogonality_weight": 0.0, "distillation_weight": 0.0, "cross_norm_weight": 0.0}


def unit(*shape: int, seed: int) -> Tensor:
    return F.normalize(drawn(*shape, seed=seed), dim=-1)


def class_weights() -> Tensor:
    return 6.0 * unit(CLASSES, WIDTH, seed=11)


def anchored(**changes: Any) -> CarotMethod:
    return CarotMethod.model_validate({**PLAIN, "anchor": {"weight": 0.7, **changes}})


def never_looks(count: int) -> Features:
    raise AssertionError("a temperature that is given needs no images")


def the_anchor(method: object) -> Anchor:
    assert isinstance(method, Carot)
    assert method.anchor is not None
    return method.anchor


# What it measures


def test_the_divergence_matches_a_slow_implementation() -> None:
    model, weight_CD = wide_model(), class_weights().requires_grad_()
    anchor = Anchor(AnchorSpec(weight=1.0, temperature=2.5), model, weight_CD, 0)
    start_AD, student_AD = unit(4, WIDTH, seed=1), unit(4, WIDTH, seed=2).requires_grad_()
    encode = FakeEncoder(beside=lambda _: start_AD)
    anchor.ask(encode)
    assert encode.asked == [anchor.start.module]
    classes = weight_CD.detach().numpy()
    start = reference.similarities(start_AD.numpy(), classes, 1 / 2.5)

    def slow(at: Mapping[str, np.ndarray]) -> float:
        return reference.divergence(reference.similarities(at["anchors"], classes, 1.0), start)

    divergence = anchor.divergence(student_AD)
    reference.check_slopes(divergence, {"anchors": student_AD}, slow, each=4)
    # The start's classes are held: no gradient moves them.
    divergence.backward()
    assert weight_CD.grad is None


def test_a_student_that_has_not_moved_differs_by_the_temperature_alone() -> None:
    features_AD = unit(4, WIDTH, seed=1)
    values = {}
    for temperature in (1.0, 3.0):
        spec = AnchorSpec(weight=1.0, temperature=temperature)
        anchor = Anchor(spec, wide_model(), class_weights(), 0)
        anchor.ask(FakeEncoder(beside=lambda _: features_AD))
        values[temperature] = float(anchor.divergence(features_AD))
    assert values[1.0] == pytest.approx(0.0, abs=1e-12)
    assert values[3.0] > 0.01


@pytest.mark.parametrize("distilled", [False, True])
def test_the_loss_is_carots_and_the_weighted_divergence(distilled: bool) -> None:
    spec = anchored(temperature=2.5).model_copy(update={"distillation_weight": 1.5 * distilled})
    model = wide_model()
    method = Carot(spec, model, 10, class_weights)
    taught = drawn_features(seed=1)
    start_AD, student_AD = unit(4, WIDTH, seed=3), unit(4, WIDTH, seed=4).requires_grad_()
    encode = FakeEncoder(lambda _: taught, lambda _: start_AD)
    teacher = method.teach(1, encode)
    assert teacher is (taught if distilled else None)
    drawn_ones = drawn_features(requires_grad=True)
    images_BD, captions_BD = drawn_ones.images_BD, drawn_ones.captions()
    features = Features(images_BD, captions_BD, drawn_ones.labels_B, student_AD)
    loss = method.loss(features, teacher)
    scale = math.exp(2.0)
    classes = class_weights().numpy()
    start = reference.similarities(start_AD.numpy(), classes, 1 / 2.5)
    taught_table = reference.similarities(
        taught.images_BD.numpy(), taught.captions().numpy(), scale
    )

    def slow(at: Mapping[str, np.ndarray]) -> float:
        total = reference.contrastive(at["images"], at["captions"], scale, LABELS)
        table = reference.similarities(at["images"], at["captions"], scale)
        total += spec.distillation_weight * reference.distillation(table, taught_table)
        held = reference.divergence(reference.similarities(at["anchors"], classes, 1.0), start)
        return total + 0.7 * held

    leaves = {"images": images_BD, "captions": captions_BD, "anchors": student_AD}
    reference.check_slopes(loss.total, leaves, slow)
    assert set(loss.terms) == {"contrastive", "anchor"} | ({"distillation"} if distilled else set())


def test_the_start_is_asked_in_the_first_step_too() -> None:
    method = Carot(anchored(temperature=1.0), wide_model(), 10, class_weights)
    encode = FakeEncoder(beside=lambda _: unit(2, WIDTH, seed=0))
    assert method.teach(0, encode) is None
    assert encode.asked == [the_anchor(method).start.module]


# What it draws


@pytest.mark.parametrize(("share", "count"), [(0.5, 4), (0.01, 1), (1.0, 8)])
def test_a_share_of_the_batch_is_filtered(share: float, count: int) -> None:
    anchor = Anchor(AnchorSpec(weight=1.0, share=share), tiny_model(), class_weights(), 0)
    assert anchor.images(0, torch.rand(8, 3, 32, 32)).shape == (count, 3, 32, 32)


def test_anchors_are_a_function_of_images_seed_and_step_alone() -> None:
    images_NCHW = torch.rand(4, 3, 8, 8)
    kept: dict[tuple[int, int], Tensor] = {}
    for torch_seed, steps in ((1, (0, 1, 2)), (2, (2, 0, 1))):
        torch.manual_seed(torch_seed)
        for seed in (0, 7):
            method = Carot(anchored(), wide_model(), 10, class_weights, seed)
            for step in steps:
                found = method.anchors(step, images_NCHW)
                assert found is not None
                assert torch.equal(kept.setdefault((seed, step), found), found)
    values = list(kept.values())
    for index, value in enumerate(values):
        assert not any(torch.equal(value, other) for other in values[:index])


# The temperature


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_the_temperature_makes_the_start_fit_the_labels_of_training_images(factor: float) -> None:
    weight_CD = factor * class_weights()
    images_ND = unit(60, WIDTH, seed=5)
    # Labels as likely as unscaled weights say: the start is too sure, or not sure enough.
    usual_NC = (images_ND @ class_weights().t()).softmax(dim=1)
    generator = torch.Generator().manual_seed(0)
    labels_N = usual_NC.multinomial(1, generator=generator).squeeze(1)
    asked: list[int] = []

    def looked_at(count: int) -> Features:
        asked.append(count)
        return Features(images_ND, None, labels_N)

    spec = AnchorSpec(weight=1.0)
    anchor = Anchor(spec, wide_model(), weight_CD, 0)
    anchor.prepare(looked_at)
    assert asked == [LOOKED_AT]

    def nll(temperature: float) -> float:
        table = reference.similarities(images_ND.numpy(), weight_CD.numpy(), 1 / temperature)
        return reference.classify(table, labels_N.tolist())

    fitted = anchor.temperature
    assert (fitted > 1) == (factor > 1)
    assert nll(fitted) < nll(1.0) - 0.01
    assert nll(fitted) < min(nll(0.99 * fitted), nll(1.01 * fitted))
    # And it is this temperature that the start's answers are divided by.
    anchor.ask(FakeEncoder(beside=lambda _: images_ND))
    assert anchor.answers_AC is not None
    torch.testing.assert_close(anchor.answers_AC, images_ND @ weight_CD.t() / fitted)


def test_a_temperature_that_is_given_is_left_alone() -> None:
    method = Carot(anchored(temperature=3.5), wide_model(), 10, class_weights)
    method.prepare(never_looks)
    assert the_anchor(method).temperature == 3.5


def test_a_run_fits_the_temperature_on_its_training_images(tmp_path: Path) -> None:
    run = Run(tmp_path, anchored(), epochs=1)
    seen = look(run.model, run.batches, LOOKED_AT, never)
    anchor = the_anchor(run.method)
    table = reference.similarities(seen.images_BD.numpy(), anchor.weight_CD.numpy(), 1.0)
    run.fit()

    def nll(temperature: float) -> float:
        scaled = [[logit / temperature for logit in row] for row in table]
        return reference.classify(scaled, seen.labels_B.tolist())

    assert anchor.temperature != 1.0
    assert nll(anchor.temperature) < nll(1.0)
    other = Run(tmp_path / "other", anchored(temperature=1.7), epochs=1)
    other.fit()
    assert the_anchor(other.method).temperature == 1.7


# The start


def test_the_start_is_a_frozen_copy_that_no_snapshot_holds() -> None:
    model = wide_model()
    method = Carot(anchored(), model, 10, class_weights)
    start = the_anchor(method).start.module
    live = dict(model.module.named_parameters())
    for name, parameter in start.named_parameters():
        assert parameter is not live[name]
        assert not parameter.requires_grad
        assert torch.equal(parameter, live[name])
    assert set(method.modules()) == {"model"}
    assert {name for name, _ in method.parameters()} == set(live)
    model.module.train()
    assert not start.training


@pytest.mark.slow
def test_the_start_stays_while_the_student_trains(tmp_path: Path) -> None:
    run = Run(tmp_path, anchored(), epochs=2)
    before = {name: value.clone() for name, value in run.model.module.state_dict().items()}
    run.fit()
    for name, value in the_anchor(run.method).start.module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(run.model.visual_projection(), before["visual.proj"])
    assert all("anchor" in step.losses for step in run.steps())


@pytest.mark.slow
def test_a_student_at_an_anchor_keeps_to_its_start_where_it_has_no_data(tmp_path: Path) -> None:
    moved = {}
    for weight in (1e-6, 10.0):
        # An anchor that all but weighs nothing measures without holding.
        run = Run(tmp_path / str(weight), anchored(weight=weight, temperature=1.0), epochs=6)
        run.fit()
        batch = next(run.batches.steps(0, 1))
        images_ACHW = random_filters(batch.images_NCHW, 4, torch.Generator().manual_seed(99))
        encoder = StepEncoder(batch, run.captions, True, run.spec, images_ACHW)
        anchor = the_anchor(run.method)
        anchor.ask(encoder.without_gradient)
        with torch.no_grad():
            moved[weight] = float(anchor.divergence(run.model.encode_images(images_ACHW)))
    assert 0 < moved[10.0] < moved[1e-6] / 3


# What it costs


def no_class_weights() -> Tensor:
    raise AssertionError("without an anchor nobody needs the start's classes")


def test_a_weight_of_zero_makes_no_copy_and_encodes_nothing() -> None:
    method = Carot(anchored(weight=0.0), wide_model(), 10, no_class_weights)
    assert method.anchor is None
    assert set(method.modules()) == {"model"}
    method.prepare(never_looks)
    assert method.anchors(3, torch.rand(4, 3, 32, 32)) is None
    assert method.teach(3, never_encodes) is None
    assert set(method.loss(drawn_features(), None).terms) == {"contrastive"}


@pytest.mark.parametrize(("weight", "beside"), [(0.0, 0), (0.5, 2)])
def test_the_student_encodes_its_batch_and_its_anchors(
    weight: float, beside: int, tmp_path: Path
) -> None:
    run = Run(tmp_path, anchored(weight=weight, temperature=1.0), epochs=1)
    encoded: list[int] = []
    tower = run.model.module.get_submodule("visual")
    tower.register_forward_pre_hook(lambda _, inputs: encoded.append(len(inputs[0])))
    run.fit()
    assert encoded == [4 + beside] * run.batches.steps_per_epoch


def test_a_teacher_sees_the_batch_without_its_anchors(tmp_path: Path) -> None:
    run = Run(tmp_path, anchored(), batch_size=6)
    batch = next(run.batches.steps(0, 1))
    anchors = run.method.anchors(0, batch.images_NCHW)
    assert anchors is not None
    encoder = StepEncoder(batch, run.captions, True, run.spec, anchors)
    student, teacher = encoder(run.model), encoder.without_gradient(run.model)
    assert teacher.anchors_AD is None
    assert teacher.images_BD.shape == student.images_BD.shape == (6, WIDTH)
    torch.testing.assert_close(student.images_BD, teacher.images_BD)
    assert student.anchors_AD is not None
    torch.testing.assert_close(student.anchors_AD, run.model.encode_images(anchors))
    beside_AD = encoder.without_gradient.anchors(run.model)
    torch.testing.assert_close(student.anchors_AD, beside_AD)
    assert student.anchors_AD.requires_grad
    assert not beside_AD.requires_grad
    assert not teacher.images_BD.requires_grad


# What is looked at


def test_a_look_shows_some_training_images_as_evaluation_sees_them(tmp_path: Path) -> None:
    run = Run(tmp_path, anchored())
    source = run.batches.source
    every_ND = run.model.encode_images(
        torch.stack([run.model.transform(source.image(index)) for index in range(len(source))])
    )
    seen = look(run.model, run.batches, 7, never)
    assert not seen.images_BD.requires_grad
    assert seen.images_BD.shape == (7, WIDTH)
    found = (seen.images_BD @ every_ND.t()).argmax(dim=1)
    torch.testing.assert_close(seen.images_BD, every_ND[found].detach())
    assert len(set(found.tolist())) == 7
    assert seen.labels_B.tolist() == source.labels[found.numpy()].tolist()
    again = look(run.model, run.batches, 7, never)
    assert torch.equal(again.images_BD, seen.images_BD)
    run.batches.seed = 1
    other = look(run.model, run.batches, 7, never)
    assert not torch.equal(other.images_BD, seen.images_BD)
    everything = look(run.model, run.batches, 4096, never)
    torch.testing.assert_close(everything.images_BD, every_ND.detach())


def test_a_look_can_be_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path, anchored())
    with pytest.raises(Interrupted):
        look(run.model, run.batches, 7, lambda: True)
