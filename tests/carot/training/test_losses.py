from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from carot.training.distillation import distillation_loss
from carot.training.losses import Form, contrastive_loss, cross_norm, orthogonality
from tests.carot.training import reference
from tests.carot.training.reference import numeric_gradient

FORMS: tuple[Form, ...] = ("squared", "unsquared")


def features(batch: int = 6, width: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2, batch, width, generator=generator, dtype=torch.float64)
    images, texts = F.normalize(drawn, dim=-1)
    return images, texts


def matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64)


def gradient(of: Tensor) -> np.ndarray:
    assert of.grad is not None
    return of.grad.numpy()


@pytest.mark.parametrize("labels", [None, [0, 1, 0, 2, 0, 1], [3, 3, 3, 3, 3, 3]])
def test_contrastive_matches_a_slow_implementation(labels: list[int] | None) -> None:
    images, texts = features()
    images.requires_grad_()
    texts.requires_grad_()
    scale = torch.tensor(14.3, dtype=torch.float64, requires_grad=True)
    chosen = None if labels is None else torch.tensor(labels)
    loss = contrastive_loss(images, texts, scale, chosen)
    i, t = images.detach().numpy(), texts.detach().numpy()
    assert loss.item() == pytest.approx(reference.contrastive(i, t, 14.3, labels), rel=1e-12)
    loss.backward()
    for tensor, slow in [
        (images, lambda x: reference.contrastive(x, t, 14.3, labels)),
        (texts, lambda x: reference.contrastive(i, x, 14.3, labels)),
        (scale, lambda x: reference.contrastive(i, t, float(x), labels)),
    ]:
        np.testing.assert_allclose(gradient(tensor), numeric_gradient(slow, tensor), atol=1e-7)
    assert torch.autograd.gradcheck(
        lambda a, b, s: contrastive_loss(a, b, s, chosen), (images, texts, scale)
    )


@pytest.mark.parametrize("labels", [None, [0, 1, 0, 2, 0, 1]])
def test_smoothed_targets_match_a_slow_implementation(labels: list[int] | None) -> None:
    images, texts = (f.requires_grad_() for f in features())
    chosen = None if labels is None else torch.tensor(labels)
    loss = contrastive_loss(images, texts, 14.3, chosen, 0.2)
    reference.check_slopes(
        loss,
        {"images": images, "texts": texts},
        lambda at: reference.contrastive(at["images"], at["texts"], 14.3, labels, 0.2),
    )
    unsmoothed = contrastive_loss(images, texts, 14.3, chosen)
    assert torch.equal(contrastive_loss(images, texts, 14.3, chosen, 0.0), unsmoothed)
    # Targets that are uniform know neither pairs nor classes.
    whole = [contrastive_loss(images, texts, 14.3, c, 1.0).item() for c in (chosen, None)]
    assert whole[0] == pytest.approx(whole[1], rel=1e-12)


def test_positives_by_class_are_positives_by_pair_when_all_labels_differ() -> None:
    images, texts = features()
    scale = torch.tensor(100.0)
    by_pair = contrastive_loss(images, texts, scale)
    by_class = contrastive_loss(images, texts, scale, torch.tensor([4, 1, 9, 0, 7, 3]))
    assert by_class.item() == pytest.approx(by_pair.item(), rel=1e-14)


def test_equal_captions_of_one_class_cost_nothing_only_by_class() -> None:
    one = F.normalize(torch.ones(4, 3), dim=-1)
    labels = torch.zeros(4, dtype=torch.int64)
    scale = torch.tensor(100.0)
    assert contrastive_loss(one, one, scale, labels).item() == pytest.approx(math.log(4))
    split = torch.eye(4)[[0, 0, 1, 1]]
    loss = contrastive_loss(split, split, scale, torch.tensor([0, 0, 1, 1]))
    assert loss.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1, 0, 2, 0, 1])])
def test_order_within_the_batch_does_not_matter(labels: Tensor | None) -> None:
    images, texts = features()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    scale = torch.tensor(50.0)
    expected = contrastive_loss(images, texts, scale, labels)
    shuffled = contrastive_loss(
        images[order], texts[order], scale, None if labels is None else labels[order]
    )
    assert shuffled.item() == pytest.approx(expected.item(), rel=1e-13)
    student, teacher = 20 * images @ texts.t(), 20 * texts @ images.t()
    mixed = distillation_loss(student[order][:, order], teacher[order][:, order])
    assert mixed.item() == pytest.approx(distillation_loss(student, teacher).item(), rel=1e-13)


def test_contrastive_survives_extreme_scales() -> None:
    images, texts = (f.float().requires_grad_() for f in features())
    loss = contrastive_loss(images, -images.detach(), torch.tensor(1e4))
    assert loss.item() > 1e3
    loss.backward()
    assert np.isfinite(gradient(images)).all()
    assert contrastive_loss(texts, texts, torch.tensor(1e4)).isfinite()


@pytest.mark.parametrize("form", FORMS)
def test_cross_norm_matches_a_slow_implementation(form: Form) -> None:
    image, text = matrix(4, 3).requires_grad_(), matrix(5, 3, seed=1).requires_grad_()
    i, t = image.detach().numpy(), text.detach().numpy()

    def slow(x: np.ndarray, y: np.ndarray) -> float:
        return reference.cross_norm(x, y, form)

    loss = cross_norm(image, text, form)
    assert loss.item() == pytest.approx(slow(i, t), rel=1e-12)
    loss.backward()
    np.testing.assert_allclose(
        gradient(image), numeric_gradient(lambda x: slow(x, t), image), atol=1e-7
    )
    np.testing.assert_allclose(
        gradient(text), numeric_gradient(lambda y: slow(i, y), text), atol=1e-7
    )
    assert torch.autograd.gradcheck(lambda a, b: cross_norm(a, b, form), (image, text))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(3, 5), (4, 4)])
def test_orthogonality_matches_a_slow_implementation(form: Form, shape: tuple[int, int]) -> None:
    weight = matrix(*shape).requires_grad_()

    def slow(w: np.ndarray) -> float:
        return reference.orthogonality(w, form)

    loss = orthogonality(weight, form)
    assert loss.item() == pytest.approx(slow(weight.detach().numpy()), rel=1e-12)
    loss.backward()
    np.testing.assert_allclose(gradient(weight), numeric_gradient(slow, weight), atol=1e-7)
    assert torch.autograd.gradcheck(lambda w: orthogonality(w, form), (weight,))


def test_orthogonality_refuses_what_cannot_be_orthonormal() -> None:
    with pytest.raises(ValueError, match="5 rows of 3 columns"):
        orthogonality(matrix(5, 3))
    assert orthogonality(matrix(3, 5)).isfinite()


@pytest.mark.parametrize("form", FORMS)
def test_norms_have_a_finite_gradient_at_zero(form: Form) -> None:
    zero, other = torch.zeros(3, 4, requires_grad=True), torch.ones(2, 4, requires_grad=True)
    cross_norm(zero, other, form).backward()
    identity = torch.eye(3, 5, requires_grad=True)
    loss = orthogonality(identity, form)
    assert loss.item() == 0.0
    loss.backward()
    for tensor in (zero, other, identity):
        assert not gradient(tensor).any()


def test_norms_of_large_matrices_keep_single_precision() -> None:
    wide = matrix(512, 768)
    for norm in (orthogonality, lambda w, form: cross_norm(w, w, form)):
        single, double = norm(wide.float(), "unsquared"), norm(wide, "unsquared")
        assert float(single) == pytest.approx(float(double), rel=3e-7)


def test_distillation_matches_a_slow_implementation() -> None:
    student, teacher = (5 * matrix(4, 4)).requires_grad_(), 5 * matrix(4, 4, seed=1)
    teacher.requires_grad_()
    t = teacher.detach().numpy()

    def slow(s: np.ndarray) -> float:
        return reference.distillation(s.tolist(), t.tolist())

    loss = distillation_loss(student, teacher)
    assert loss.item() == pytest.approx(slow(student.detach().numpy()), rel=1e-12)
    loss.backward()
    assert teacher.grad is None
    np.testing.assert_allclose(gradient(student), numeric_gradient(slow, student), atol=1e-7)
    fixed = teacher.detach()
    assert torch.autograd.gradcheck(lambda s: distillation_loss(s, fixed), (student,))


def test_distillation_is_zero_for_equal_distributions_only() -> None:
    logits = 5 * matrix(4, 4)
    assert distillation_loss(logits, logits).item() == pytest.approx(0.0, abs=1e-14)
    # A constant changes no distribution, in either direction.
    assert distillation_loss(logits + 3, logits).item() == pytest.approx(0.0, abs=1e-12)
    assert distillation_loss(logits.roll(1, 0), logits).item() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distillation_survives_extreme_logits(dtype: torch.dtype) -> None:
    student = (1e4 * torch.eye(3, dtype=dtype) - 5e3).requires_grad_()
    teacher = student.detach().roll(1, 0)
    loss = distillation_loss(student, teacher)
    # Each row and column puts all its mass 1e4 below the student's top: 1e4 in each direction.
    assert loss.item() == pytest.approx(2e4, rel=1e-5)
    loss.backward()
    assert np.isfinite(gradient(student)).all()
    assert abs(gradient(student)).max() == pytest.approx(2 / 3)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_do_not_reach_the_sums(half: torch.dtype) -> None:
    images, texts = (f.to(half) for f in features())
    weight = matrix(3, 5).to(half)

    def terms() -> list[Tensor]:
        logits = 100 * images.float() @ texts.float().t()
        return [
            contrastive_loss(images, texts, torch.tensor(100.0)),
            cross_norm(images, texts),
            orthogonality(weight),
            distillation_loss(logits, logits.t()),
        ]

    outside = terms()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = [
            contrastive_loss(images, texts, torch.tensor(100.0)),
            cross_norm(images, texts),
            orthogonality(weight),
        ]
    for value in outside:
        assert value.dtype == torch.float32
    for value, expected in zip(inside, outside, strict=False):
        assert torch.equal(value, expected)
    wide = contrastive_loss(images.double(), texts.double(), torch.tensor(100.0))
    assert wide.dtype == torch.float64
    assert outside[0].item() == pytest.approx(wide.item(), rel=1e-5)
