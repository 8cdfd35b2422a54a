"""What a report says of unseen classes, and which score it chooses by which images."""

from __future__ import annotations

import random

import pytest
import torch

from carot.calibration.sets.unseen_score import UnseenScore, fit_unseen_score
from carot.evaluation.separation import auroc, false_acceptance
from carot.evaluation.unseen import Likeness, UnseenImages, unseen_report
from carot.evaluation.unseen_figures import UnseenReport
from carot.specs import EvaluationDataset


def likeness(name: str, images: int, confidence: float, distance: float, seed: int = 0) -> Likeness:
    """Images around a confidence and a distance."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, images, generator=generator, dtype=torch.float64)
    return Likeness(
        tuple(f"{name}-{i}" for i in range(images)),
        (confidence + 0.05 * noise[0]).clamp(0.2, 1),
        distance + 0.5 * noise[1],
    )


def reference() -> UnseenScore:
    own = likeness("calibration", 100, 0.9, 2.0, seed=9)
    assert own.distance_N is not None
    return fit_unseen_score(own.confidence_N, own.distance_N)


KNOWN = likeness("known", 80, 0.9, 2.0, seed=1)


def report(*unseen: Likeness, scores: UnseenScore | None = None) -> UnseenReport:
    rows = [
        UnseenImages(EvaluationDataset(name=f"{i}", dataset="x:y", unseen=True), ("z",), each, ())
        for i, each in enumerate(unseen)
    ]
    return unseen_report("test", KNOWN, rows, scores or reference())


def joined(one: Likeness, other: Likeness) -> Likeness:
    assert one.distance_N is not None
    assert other.distance_N is not None
    return Likeness(
        one.keys + other.keys,
        torch.cat([one.confidence_N, other.confidence_N]),
        torch.cat([one.distance_N, other.distance_N]),
    )


@pytest.mark.parametrize("images", [1, 2, 9, 40])
def test_halves_are_the_same_images_in_whatever_order(images: int) -> None:
    whole = likeness("a", images, 0.9, 2)
    reported, choosing = whole.halves()
    assert len(reported.keys) - len(choosing.keys) in (0, 1)
    assert set(reported.keys) | set(choosing.keys) == set(whole.keys)
    assert set(reported.keys).isdisjoint(choosing.keys)
    order = random.Random(0).sample(range(images), images)
    again = whole._some(order).halves()[0]
    assert again.keys == reported.keys
    assert again.confidence_N.tolist() == reported.confidence_N.tolist()
    assert len({each.halves()[0].keys for each in (whole, likeness("b", images, 0.9, 2))}) == 2


@pytest.mark.parametrize(
    ("unseen", "chosen"),
    [
        (likeness("u", 60, 0.6, 2.0, seed=2), "confidence"),
        (likeness("u", 60, 0.9, 5.0, seed=2), "shift"),
        (likeness("u", 600, 0.84, 2.6, seed=2), "combined"),
    ],
)
def test_the_score_that_tells_them_is_chosen(unseen: Likeness, chosen: str) -> None:
    found = report(unseen)
    assert found.chosen == chosen
    areas = {each.score: each.auroc for each in found.choice}
    assert max(areas, key=lambda score: areas[score]) == chosen


def test_figures_are_of_the_reported_half_and_the_choice_of_the_other() -> None:
    unseen = likeness("u", 60, 0.8, 3.0, seed=3)
    scores, found = reference(), report(unseen)
    (known, known_choice), (half, choice) = KNOWN.halves(), unseen.halves()
    [row] = found.rows
    assert (row.images, row.known_images, found.known) == (30, 40, "test")
    for each, of in zip(row.scores, found.choice, strict=True):
        own, others = known.values(scores)[each.score], half.values(scores)[each.score]
        assert (each.auroc, each.auroc_interval) == auroc(own, others)
        assert (each.fpr95, each.fpr95_interval) == false_acceptance(own, others)
        pair = known_choice.values(scores)[each.score], choice.values(scores)[each.score]
        assert of.auroc == auroc(*pair)[0]


def test_the_reported_half_has_no_say() -> None:
    unseen = likeness("u", 60, 0.6, 2.0, seed=2)
    half, choice = unseen.halves()
    assert half.distance_N is not None
    shifted = Likeness(half.keys, torch.full_like(half.confidence_N, 0.99), half.distance_N + 50)
    changed = report(joined(shifted, choice))
    assert report(unseen).choice == changed.choice
    assert changed.chosen == "confidence"
    by_score = {each.score: each.auroc for each in changed.rows[0].scores}
    assert by_score["shift"] == 1.0 > by_score["confidence"]


def test_several_data_sets_count_alike() -> None:
    few, many = likeness("f", 8, 0.9, 5.0, seed=4), likeness("m", 400, 0.85, 2.0, seed=5)
    found = report(few, many)
    one, other = report(few), report(many)
    for each, a, b in zip(found.choice, one.choice, other.choice, strict=True):
        assert each.auroc == pytest.approx((a.auroc + b.auroc) / 2)


def test_shares_that_are_abstained_from() -> None:
    unseen = likeness("u", 60, 0.9, 3.2, seed=2)
    found = report(unseen)
    assert found.chosen == "shift"
    limit = sorted(reference().distances_N.tolist())[95]
    for share, whole in ((found.rows[0].abstained, unseen), (found.rows[0].known_abstained, KNOWN)):
        half = whole.halves()[0]
        assert half.distance_N is not None
        assert share == pytest.approx((half.distance_N > limit).double().mean().item())


def test_a_choice_that_was_made_stays() -> None:
    found = report(likeness("u", 60, 0.9, 5.0, seed=2), scores=reference().serving("confidence"))
    assert (found.chosen, found.choice) == ("confidence", ())


def test_none_is_chosen_where_none_tells_anything() -> None:
    nearer = likeness("u", 60, 0.99, 0.5, seed=2)
    found = report(nearer)
    assert found.chosen is None
    assert found.rows[0].abstained is None
    assert all(each.auroc < 0.5 for each in found.choice)
    single = report(likeness("u", 1, 0.2, 9.0))
    assert (single.chosen, single.choice, single.rows[0].images) == (None, (), 1)


def test_confidence_alone_without_a_shift_score() -> None:
    def plain(each: Likeness) -> Likeness:
        return Likeness(each.keys, each.confidence_N, None)

    row = UnseenImages(
        EvaluationDataset(name="u", dataset="x:y", unseen=True),
        ("z",),
        plain(likeness("u", 60, 0.6, 2.0)),
        (),
    )
    found = unseen_report("test", plain(KNOWN), [row], None)
    assert found.chosen is None
    assert [each.score for each in found.rows[0].scores] == ["confidence"]
