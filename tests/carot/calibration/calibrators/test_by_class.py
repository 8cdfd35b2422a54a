from __future__ import annotations

import torch

from carot.calibration.calibrators.automatic import choose_calibrator
from carot.calibration.calibrators.by_class import named, rare_classes, suppressed_class
from carot.calibration.calibrators.fitting import Sample, fold_of
from tests.carot.calibration.drawn_logits import skewed


def test_rare_classes_have_fewer_than_six_images() -> None:
    labels = torch.tensor([0] * 6 + [1] * 5 + [3] * 20)
    assert rare_classes(labels, 5) == [1, 2, 4]


def test_a_class_that_loses_most_of_its_answers_is_found() -> None:
    labels = torch.tensor([0] * 50 + [1] * 50)
    before = torch.ones(100, dtype=torch.bool)
    after = before.clone()
    assert suppressed_class(before, after, labels) is None
    after[50:74] = False  # not half of them
    assert suppressed_class(before, after, labels) is None
    after[50:80] = False
    assert suppressed_class(before, after, labels) == (
        "it takes class 1 from 50 to 20 right answers of 50"
    )
    # Two images are no proof.
    few = torch.tensor([0] * 98 + [1] * 2)
    gone = before.clone()
    gone[98:] = False
    assert suppressed_class(before, gone, few) is None


def test_every_fold_has_its_share_of_each_class() -> None:
    labels = torch.tensor([0] * 100 + [1] * 10 + [2] * 5)[torch.randperm(115)]
    fold = fold_of(labels, 5)
    for label, share in ((0, 20), (1, 2), (2, 1)):
        assert fold[labels == label].bincount(minlength=5).tolist() == [share] * 5


def test_auto_leaves_out_what_suppresses_a_class() -> None:
    """A class of twenty images that looks like one of two thousand: `vector` gives it up."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat((torch.zeros(2000, dtype=torch.int64), torch.full((60,), 1)))
    logits = torch.randn(2060, 3, generator=generator, dtype=torch.float64)
    logits[torch.arange(2060), labels] += 1.0
    logits[:, 1] += 1.0
    choice = choose_calibrator(Sample(logits, labels))
    score = next(each for each in choice.scores if each.kind == "vector")
    assert choice.calibrator.kind != "vector"
    assert score.nll is None
    assert "it takes class 1 from" in str(score.reason)
    assert choose_calibrator(Sample(*skewed(1500))).calibrator.kind == "vector"


def test_names_are_cut() -> None:
    names = [f"c{i}" for i in range(20)]
    assert named(names, [1, 3]) == "c1, c3"
    assert named(names, range(12)) == f"{', '.join(names[:10])} and 2 more"
