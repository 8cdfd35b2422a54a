"""Logits among a data set's own classes, against loops over each number."""

from __future__ import annotations

import math

import pytest
import torch

from carot.calibration.metrics.metrics import compute_metrics
from carot.data.label_space import LabelSpace, label_space
from carot.errors import ClassMismatch

WANTED = ("a", "b", "c", "d", "e")


def space(
    found: tuple[str, ...],
    members: tuple[tuple[str, ...], ...] | None = None,
    restrict: bool = True,
) -> LabelSpace:
    return label_space(
        found, WANTED, members=members, restrict=restrict, name="row", field="the.field"
    )


def drawn(images: int) -> torch.Tensor:
    return 3 * torch.randn(images, 5, generator=torch.Generator().manual_seed(0))


def test_the_same_classes_leave_logits_alone() -> None:
    logits = drawn(4)
    for restrict in (False, True):
        same = space(WANTED, restrict=restrict)
        assert same == LabelSpace(WANTED)
        assert same.project(logits) is logits


def test_a_subset_is_measured_before_the_softmax() -> None:
    logits, labels = drawn(50), torch.arange(50) % 3
    chosen = space(("e", "a", "d"))
    assert chosen.members == ((4,), (0,), (3,))
    projected = chosen.project(logits)
    nll, confidence = 0.0, 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        kept = [row[4], row[0], row[3]]
        total = math.fsum(math.exp(value) for value in kept)
        nll -= math.log(math.exp(kept[label]) / total) / 50
        confidence += max(math.exp(value) / total for value in kept) / 50
    measured = compute_metrics(projected, labels)
    assert measured.nll == pytest.approx(nll, rel=1e-6)
    assert measured.mean_confidence == pytest.approx(confidence, rel=1e-6)
    # After the softmax it would be another number.
    assert confidence > float(logits.softmax(1).max(1).values.mean()) + 0.01


def test_the_largest_of_several_members_counts() -> None:
    logits = drawn(30)
    grouped = space(("x", "y", "z"), (("b", "e", "a"), ("c",), ("d", "a")))
    expected = [
        [max(row[1], row[4], row[0]), row[2], max(row[3], row[0])] for row in logits.tolist()
    ]
    assert torch.equal(grouped.project(logits), torch.tensor(expected))
    assert torch.equal(grouped.project(-logits).isfinite(), torch.ones(30, 3, dtype=torch.bool))
    assert float(grouped.project(torch.full((1, 5), -7.0)).max()) == -7.0


def test_without_restrict_differing_classes_are_a_mismatch_that_says_so() -> None:
    for found, message in (
        (("a", "b"), "lacks c, d, e; set restrict"),
        (("a", "b", "c", "d", "e", "f"), "has f besides"),
        (("e", "d", "c", "b", "a"), "in another order"),
    ):
        with pytest.raises(ClassMismatch, match=message) as caught:
            space(found, restrict=False)
        assert caught.value.field == "the.field"
    with pytest.raises(ClassMismatch, match="groups them"):
        space(("x", "y"), (("a", "b", "c"), ("d", "e", "a")), restrict=False)


def test_another_order_is_a_restriction_as_well() -> None:
    logits = drawn(3)
    assert torch.equal(space(WANTED[::-1]).project(logits), logits.flip(1))


def test_a_class_that_the_classifier_lacks_is_named() -> None:
    with pytest.raises(ClassMismatch, match="has f, which the classifier does not know"):
        space(("a", "f"))
    with pytest.raises(ClassMismatch, match="has q, which"):
        space(("x", "y"), (("a",), ("b", "q")))
    many = tuple(f"z{i:02d}" for i in range(14))
    with pytest.raises(ClassMismatch, match="z09 and 4 more"):
        space(many)


def test_one_class_cannot_be_measured() -> None:
    with pytest.raises(ClassMismatch, match="one class only"):
        space(("a",))
