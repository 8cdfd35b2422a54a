from __future__ import annotations

import pytest
import torch
from torch import Tensor

from carot.evaluation.class_figures import worst_classes

NAMES = ("coat", "shirt", "bag")


def shirts(images: int = 300) -> tuple[Tensor, Tensor]:
    """A third of each class; shirts are taken for coats three times of four, at 60 %."""
    labels = torch.arange(images) % 3
    answers = labels.clone()
    own = (labels == 1).nonzero()[:, 0]
    answers[own[: 3 * len(own) // 4]] = 0
    p = torch.full((images, 3), 0.2)
    p[torch.arange(images), answers] = 0.6
    sure = labels != 1
    p[sure] = 0.005
    p[sure, labels[sure]] = 0.99
    return p.double().log(), labels


def test_a_class_that_is_seldom_right_and_sure_all_the_same_comes_first() -> None:
    found = worst_classes(*shirts(), NAMES)
    [worst] = found.gaps
    assert (worst.name, worst.images, worst.accuracy) == ("shirt", 100, 0.25)
    assert worst.mean_confidence == pytest.approx(0.6)
    assert worst.gap == pytest.approx(0.35)
    assert worst.accuracy_interval[1] < worst.mean_confidence
    assert (worst.confused_with, worst.confused) == ("coat", 75)
    assert found.names == NAMES
    assert found.confusion == ((100, 0, 0), (75, 25, 0), (0, 0, 100))
    assert [(each.label, each.answer, each.images) for each in found.confused] == [
        ("shirt", "coat", 75)
    ]


def test_a_calibrated_class_is_not_listed() -> None:
    labels = torch.arange(200) % 2
    answers = labels.clone()
    answers[:40] = 1 - answers[:40]  # right on 80 %, at 80 %
    p = torch.full((200, 2), 0.2)
    p[torch.arange(200), answers] = 0.8
    found = worst_classes(p.log(), labels, ("a", "b"))
    assert found.gaps == ()
    assert sum(map(sum, found.confusion or ())) == 200


def test_many_classes_have_pairs_and_no_matrix() -> None:
    labels = torch.arange(100) % 50
    logits = torch.zeros(100, 50)
    logits[torch.arange(100), (labels + 1) % 50] = 9.0
    found = worst_classes(logits, labels, ())
    assert found.confusion is None
    assert found.names == ()
    assert len(found.gaps) == len(found.confused) == 20
    assert found.confused[0].images == 2
    assert {each.confused_with for each in found.gaps} <= {str(k) for k in range(50)}


def test_who_is_on_top_is_said_by_the_logits() -> None:
    raw = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    tied = torch.full((2, 2), -0.7)
    found = worst_classes(tied, torch.tensor([1, 0]), ("a", "b"), ranked_by=raw)
    assert found.confusion == ((1, 0), (0, 1))


def test_a_class_without_images_says_nothing() -> None:
    log, labels = shirts()
    found = worst_classes(torch.cat((log, log[:, :1] - 9), 1), labels, (*NAMES, "hat"))
    assert [each.name for each in found.gaps] == ["shirt"]
    assert found.confusion is not None
    assert found.confusion[3] == (0, 0, 0, 0)
