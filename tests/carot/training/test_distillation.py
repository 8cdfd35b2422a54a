from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from carot.training.distillation import (
    Side,
    cross_loss,
    distillation_loss,
    feature_loss,
    interaction_loss,
    relation_loss,
)
from tests.carot.training import reference

LABELS = [0, 1, 0, 2, 1]
Slow = Callable[[np.ndarray, np.ndarray, float], float]


def side(seed: int, scale: float = 9.0, requires_grad: bool = False) -> Side:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    images, captions = (f.clone().requires_grad_(requires_grad) for f in F.normalize(drawn, dim=-1))
    of_scale = torch.tensor(scale, dtype=torch.float64, requires_grad=requires_grad)
    return Side(images, captions, of_scale)


def leaves(of: Side) -> dict[str, torch.Tensor]:
    return {"images": of.images_BD, "captions": of.captions_BD, "scale": of.scale}


@pytest.mark.parametrize("labels", [None, LABELS])
def test_every_term_matches_a_slow_implementation(labels: list[int] | None) -> None:
    student, teacher = side(0, requires_grad=True), side(1, scale=4.0, requires_grad=True)
    ti, tt = teacher.images_BD.detach().numpy(), teacher.captions_BD.detach().numpy()
    teacher_table = reference.similarities(ti, tt, 4.0)
    chosen = None if labels is None else torch.tensor(labels)
    terms: list[tuple[torch.Tensor, Slow]] = [
        (feature_loss(student, teacher), lambda i, c, s: reference.feature(i, c, ti, tt)),
        (
            relation_loss(student, teacher),
            lambda i, c, s: reference.distillation(reference.similarities(i, c, s), teacher_table),
        ),
        (
            interaction_loss(student, teacher, chosen),
            lambda i, c, s: reference.interaction(i, c, ti, tt, s, labels),
        ),
        (cross_loss(student, teacher), lambda i, c, s: reference.cross(i, c, ti, tt, s, 4.0)),
    ]
    for term, slow in terms:

        def at_leaves(at: Mapping[str, np.ndarray], slow: Slow = slow) -> float:
            return slow(at["images"], at["captions"], float(at["scale"]))

        reference.check_slopes(term, leaves(student), at_leaves)
        to_teacher = torch.autograd.grad(
            term, list(leaves(teacher).values()), allow_unused=True, retain_graph=True
        )
        assert all(gradient is None for gradient in to_teacher)


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it() -> None:
    both = side(0)
    for term in (feature_loss, relation_loss, cross_loss):
        assert term(both, both).item() == pytest.approx(0.0, abs=1e-14)
    logits = both.logits()
    targets = torch.arange(5)
    expected = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.t(), targets)) / 2
    assert interaction_loss(both, both).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_do_not_reach_the_sums(half: torch.dtype) -> None:
    drawn = [side(seed, scale=100.0) for seed in (0, 1)]
    student, teacher = (Side(s.images_BD.to(half), s.captions_BD.to(half), s.scale) for s in drawn)
    wide = [Side(s.images_BD.float(), s.captions_BD.float(), s.scale) for s in (student, teacher)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = [
            term(student, teacher)
            for term in (feature_loss, relation_loss, interaction_loss, cross_loss)
        ]
    outside = [term(*wide) for term in (feature_loss, relation_loss, interaction_loss, cross_loss)]
    for value, expected in zip(inside, outside, strict=True):
        assert value.dtype in (torch.float32, torch.float64)
        assert torch.equal(value, expected)


def test_the_relation_is_the_distillation_of_the_logits() -> None:
    student, teacher = side(0), side(1)
    expected = distillation_loss(student.logits(), teacher.logits())
    assert torch.equal(relation_loss(student, teacher), expected)
