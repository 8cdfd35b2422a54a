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


def test_every_fold_has_its_share_of_each_small_class() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([0] * 100 + [1] * 9 + [2] * 5 + [3])
    labels = labels[torch.randperm(115, generator=generator)]
    fold = fold_of(labels, 5)
    assert fold.bincount().tolist() == [23] * 5
    assert sorted(fold[labels == 1].bincount(minlength=5).tolist()) == [1, 2, 2, 2, 2]
    assert fold[labels == 2].bincount(minlength=5).tolist() == [1] * 5


def test_large_classes_fall_as_they_may() -> None:
    """With equal shares in all folds, what is chance in the shares would look like knowledge."""
    labels = torch.arange(400) % 2
    counts = fold_of(labels, 5)[labels == 0].bincount(minlength=5)
    assert counts.tolist() != [40] * 5
    # Labels that say nothing but how many there are of each: no calibrator helps.
    ahead = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(10, (200,), generator=generator)
        logits = 0.01 * torch.randn(200, 10, generator=generator, dtype=torch.float64)
        scores = {each.kind: each.nll for each in choose_calibrator(
            Sample(logits, drawn), ("temperature", "vector")).scores}  # fmt: skip
        assert scores["vector"] is not None
        assert scores["temperature"] is not None
        ahead += scores["vector"] < scores["temperature"]
    assert ahead <= 5


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
