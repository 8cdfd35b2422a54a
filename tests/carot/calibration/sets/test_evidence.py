from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from carot.calibration.metrics.metrics import top_label
from carot.calibration.sets.evidence import WIDTH, Evidence, EvidenceTable, fit_evidence
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def at(table: EvidenceTable, confidence: float) -> Evidence:
    found = table.at(confidence)
    assert found is not None
    return found


def slow(
    confidences: list[float], correct: list[bool], at: float, k: int
) -> tuple[int, int, float, float] | None:
    """By sorting all images by how near they are."""
    radius = min(sorted(abs(c - at) for c in confidences)[k - 1], WIDTH + 1e-12)
    near = [(c, o) for c, o in zip(confidences, correct, strict=True) if abs(c - at) <= radius]
    if len(near) < 5:
        return None
    values = [c for c, _ in near]
    return len(near), sum(o for _, o in near), min(values), max(values)


@given(
    places=st.lists(st.integers(0, 64), min_size=1, max_size=150),
    place=st.one_of(st.integers(0, 128).map(lambda i: i / 128), st.floats(0, 1)),
    seed=st.integers(0, 100),
)
@settings(max_examples=150)
def test_the_neighbourhood_is_the_nearest_with_ties(
    places: list[int], place: float, seed: int
) -> None:
    confidences = [each / 64 for each in places]
    generator = torch.Generator().manual_seed(seed)
    correct = torch.rand(len(places), generator=generator) < 0.6
    table = fit_evidence(torch.tensor(confidences, dtype=torch.float64), correct)
    found = table.at(place)
    expected = slow(confidences, correct.tolist(), place, min(len(places), 50))
    if found is None or expected is None:
        assert found is None
        assert expected is None
        return
    assert (found.count, found.right, found.lowest, found.highest) == expected
    assert place - WIDTH - 1e-9 <= found.lowest <= found.highest <= place + WIDTH + 1e-9
    assert found.share == found.right / found.count
    assert found.interval[0] <= found.share <= found.interval[1]


def test_neighbourhoods_grow_with_the_split_up_to_a_twentieth() -> None:
    for n, k in ((1, 1), (5, 5), (49, 49), (51, 50), (1000, 50), (1001, 51), (10_000, 500)):
        confidence = torch.linspace(0.53, 0.57, n, dtype=torch.float64)
        table = fit_evidence(confidence, torch.ones(n, dtype=torch.bool))
        assert table.neighbours == k
        if n >= 5:
            assert k <= at(table, 0.55).count <= k + 1  # two may be as far away


def test_the_interval_is_wilsons() -> None:
    confidence, correct = top_label(*drawn(2000, 5, temperature=2.0))
    found = at(fit_evidence(confidence, correct), 0.8)
    expected = binomtest(found.right, found.count).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_evidence_tells_overconfidence() -> None:
    sure = top_label(*drawn(4000, 5, temperature=3.0))
    honest = top_label(*drawn(4000, 5))
    assert at(fit_evidence(*sure), 0.9).interval[1] < 0.9
    low, high = at(fit_evidence(*honest), 0.9).interval
    assert low < 0.9 < high


def test_order_does_not_matter_and_json_keeps_it() -> None:
    confidence, correct = top_label(*drawn(300, 3))
    confidence = confidence.round(decimals=2)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    table = fit_evidence(confidence, correct, classes=("a", "b", "c"))
    shuffled = fit_evidence(confidence[order], correct[order], classes=("a", "b", "c"))
    again = EvidenceTable.model_validate_json(table.model_dump_json())
    for i in range(101):
        assert table.at(i / 100) == shuffled.at(i / 100) == again.at(i / 100)
    assert table.label_set_hash != fit_evidence(confidence, correct).label_set_hash


def test_confidences_of_zero_and_one() -> None:
    confidence = torch.tensor([0.0] * 60 + [1.0] * 60, dtype=torch.bfloat16)
    correct = torch.tensor([False] * 60 + [True] * 59 + [False])
    table = fit_evidence(confidence, correct)
    assert (at(table, 0.0).count, at(table, 0.0).right) == (60, 0)
    assert (at(table, 1.0).count, at(table, 1.0).right) == (60, 59)


def test_no_image_was_this_confident() -> None:
    """Beyond what was seen, and in a gap of it, the nearest images say nothing."""
    upper = torch.linspace(0.352, 0.86, 50, dtype=torch.float64)
    table = fit_evidence(upper, torch.arange(50) < 38)
    assert table.at(0.328) is None
    assert table.at(0.95) is None
    inside = at(table, 0.6)
    assert 0.55 <= inside.lowest <= 0.6 <= inside.highest <= 0.65
    ends = torch.tensor([0.1] * 25 + [0.99] * 25, dtype=torch.float64)
    table = fit_evidence(ends, torch.ones(50, dtype=torch.bool))
    assert [table.at(c) for c in (0.0, 0.16, 0.5, 0.93)] == [None] * 4
    assert at(table, 0.13).count == at(table, 0.99).count == 25


@pytest.mark.parametrize(("images", "known"), [(1, False), (4, False), (5, True), (12, True)])
def test_a_tiny_split_speaks_of_five_images_or_more(images: int, known: bool) -> None:
    table = fit_evidence(torch.full((images,), 0.7), torch.ones(images, dtype=torch.bool))
    found = table.at(0.71)
    assert (found is not None) is known
    assert found is None or (found.count, found.right) == (images, images)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, math.nan])
def test_a_confidence_is_a_share(confidence: float) -> None:
    table = fit_evidence(torch.tensor([0.5]), torch.tensor([True]))
    with pytest.raises(CalibrationError, match="from 0 to 1"):
        table.at(confidence)


def test_torn_tables_are_refused() -> None:
    fields = {"split": "calibration", "label_set_hash": "", "correct": (True, False)}
    for confidences in ((0.5, 0.4), (0.5,)):
        with pytest.raises(ValueError, match="rising confidences"):
            EvidenceTable(confidences=confidences, **fields)
    with pytest.raises(CalibrationError, match="no images"):
        fit_evidence(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
