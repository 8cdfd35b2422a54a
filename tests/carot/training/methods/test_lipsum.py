from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from carot.errors import ModelError, SpecError
from carot.models.clip import ClipModel
from carot.models.tokenizers import Tokenizer
from carot.specs import LipsumMethod
from carot.training.methods import Features, Lipsum
from carot.training.methods.lipsum import random_texts, text_change, text_frame
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

START, END = 49406, 49407


def lipsum(seed: int = 0, model: ClipModel | None = None, **changes: Any) -> Lipsum:
    return Lipsum(LipsumMethod(**changes), model or wide_model(), 10, drawn(3, WIDTH), seed)


def test_the_loss_matches_a_slow_implementation() -> None:
    method = lipsum(weight=0.7)
    texts_MD = drawn(6, WIDTH, seed=4)
    method.texts_MD = texts_MD
    features, start = drawn_features(requires_grad=True), drawn_features(seed=1)
    texts, before = texts_MD.numpy(), start.images_BD.numpy()

    def slow(at: Mapping[str, np.ndarray]) -> float:
        table = reference.similarities(at["images"], at["head"], 1.0)
        change = reference.text_change(at["images"], before, texts, math.exp(2.0))
        return reference.classify(table, LABELS) + 0.7 * change

    loss = method.loss(features, start)
    leaves = {"images": features.images_BD, "head": method.classifier.weight}
    reference.check_slopes(loss.total, leaves, slow)
    assert set(loss.terms) == {"cross_entropy", "texts"}


def test_a_model_that_has_not_moved_has_changed_nothing() -> None:
    images = drawn_features().images_BD
    assert text_change(images, images, drawn(4, WIDTH), torch.tensor(9.0)).item() == 0.0


def test_a_text_is_start_random_ids_below_it_end() -> None:
    frame_L = text_frame(tiny_model(), 8)
    texts_ML = random_texts(frame_L, 80, 8, seed=0, step=0)
    assert texts_ML.shape == (80, 16)
    assert texts_ML.dtype == torch.int64
    assert (texts_ML[:, 0] == START).all()
    assert (texts_ML[:, 9] == END).all()
    assert (texts_ML[:, 10:] == 0).all()
    drawn_ids = texts_ML[:, 1:9]
    assert drawn_ids.min() >= 0
    assert drawn_ids.max() < START
    # Uniform: the mean of 640 draws is within five standard errors of the middle.
    error = START / math.sqrt(12 * drawn_ids.numel())
    assert abs(drawn_ids.double().mean() - START / 2) < 5 * error
    assert len(drawn_ids.unique()) > 600


def test_texts_are_a_function_of_seed_and_step_alone() -> None:
    texts: dict[tuple[int, int], torch.Tensor] = {}
    for torch_seed, steps in ((1, (0, 1, 2)), (2, (2, 0, 1))):
        torch.manual_seed(torch_seed)
        methods = {seed: lipsum(seed) for seed in (0, 7)}
        for seed, method in methods.items():
            for step in steps:
                method.before_step(step)
                kept = texts.setdefault((seed, step), method.texts_MD)
                assert torch.equal(kept, method.texts_MD)
    values = list(texts.values())
    for index, value in enumerate(values):
        assert value.shape == (80, WIDTH)
        assert not value.requires_grad
        torch.testing.assert_close(value.norm(dim=1), torch.ones(80))
        assert not any(torch.equal(value, other) for other in values[:index])


def test_the_start_stays_while_the_image_tower_moves() -> None:
    model = tiny_model()
    method = lipsum(model=model, texts=4, tokens=5)
    assert method.start is not None
    images = torch.rand(2, 3, 32, 32)
    before = model.encode_images(images).detach().clone()
    model.module.train()
    with torch.no_grad():
        for _, parameter in method.parameters():
            parameter.mul_(1.5)

    def encode(of: ClipModel) -> Features:
        assert not of.module.training
        return Features(of.encode_images(images), None, torch.tensor([0, 1]))

    teacher = method.teach(5, FakeEncoder(encode))
    assert teacher is not None
    torch.testing.assert_close(teacher.images_BD, before)
    assert not teacher.images_BD.requires_grad
    assert not torch.allclose(model.encode_images(images), before, atol=1e-2)


def test_what_does_not_train_is_there_once() -> None:
    method = lipsum()
    assert method.start is not None
    trained = {name for name, _ in method.parameters()}
    live = dict(method.model.module.named_parameters())
    for name, parameter in method.start.module.named_parameters():
        assert (parameter is live[name]) == (name not in trained)
        assert not parameter.requires_grad
    assert trained == {n for n in live if n.startswith("visual.")} | {"classifier.weight"}
    # Made anew from the starting model, it is in no snapshot.
    assert set(method.modules()) == {"model", "classifier"}


def test_a_weight_of_zero_is_plain_fine_tuning() -> None:
    method = lipsum(weight=0.0)
    method.before_step(3)
    assert method.start is None
    assert len(method.texts_MD) == 0
    assert method.teach(3, never_encodes) is None
    assert set(method.loss(drawn_features(), None).terms) == {"cross_entropy"}


def test_texts_that_do_not_fit_are_refused() -> None:
    assert lipsum(tokens=14).frame_L.shape == (16,)
    with pytest.raises(SpecError, match="14 at most") as caught:
        lipsum(tokens=15)
    assert caught.value.field == "method.tokens"


@pytest.mark.parametrize("frame", [[1, 0, 0, 0], [START, END, 7, 0], [START + 5, END, 0, 0]])
def test_tokenizers_of_another_kind_are_refused(frame: list[int]) -> None:
    class Other(Tokenizer):
        def __call__(self, captions: Sequence[str]) -> torch.Tensor:
            return torch.tensor([frame])

    model = replace(wide_model(), tokenize=Other("other", {}))
    with pytest.raises(ModelError, match="another method") as caught:
        lipsum(model=model, tokens=1)
    assert caught.value.field == "method.name"
