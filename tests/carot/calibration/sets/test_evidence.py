from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from carot.calibration.metrics.metrics import top_label
from carot.calibration.sets.evidence import EvidenceTable, fit_evidence
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def slow(
    confidences: list[float], correct: list[bool], at: float, k: int
) -> tuple[int, int, float, float]:
    """By sorting all images by how near they are."""
    radius = sorted(abs(c - at) for c in confidences)[k - 1]
    near = [(c, o) for c, o in zip(confidences, correct, strict=True) if abs(c - at) <= radius]
    values = [c for c, _ in near]
    return len(near), sum(o for _, o in near), min(values), max(values)


@given(
    places=st.lists(st.integers(0, 64), min_size=1, max_size=150),
    at=st.one_of(st.integers(0, 128).map(lambda i: i / 128), st.floats(0, 1)),
    seed=st.integers(0, 100),
)
@settings(max_examples=150)
def test_the_neighbourhood_is_the_nearest_with_ties(
    places: list[int], at: float, seed: int
) -> None:
    confidences = [place / 64 for place in places]
    generator = torch.Generator().manual_seed(seed)
    correct = torch.rand(len(places), generator=generator) < 0.6
    table = fit_evidence(torch.tensor(confidences, dtype=torch.float64), correct)
    found = table.at(at)
    expected = slow(confidences, correct.tolist(), at, min(len(places), 50))
    assert (found.count, found.right, found.lowest, found.highest) == expected
    assert found.share == found.right / found.count
    assert found.interval[0] <= found.share <= found.interval[1]


def test_neighbourhoods_grow_with_the_split_up_to_a_twentieth() -> None:
    for n, k in ((1, 1), (49, 49), (51, 50), (1000, 50), (1001, 51), (10_000, 500)):
        confidence = torch.linspace(0.2, 1.0, n, dtype=torch.float64)
        table = fit_evidence(confidence, torch.ones(n, dtype=torch.bool))
        assert table.neighbours == k
        assert k <= table.at(0.55).count <= k + 1  # two may be as far away


def test_the_interval_is_wilsons() -> None:
    confidence, correct = top_label(*drawn(2000, 5, temperature=2.0))
    found = fit_evidence(confidence, correct).at(0.8)
    expected = binomtest(found.right, found.count).proportion_ci(method="wilson")
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_evidence_tells_overconfidence() -> None:
    sure = top_label(*drawn(4000, 5, temperature=3.0))
    honest = top_label(*drawn(4000, 5))
    assert fit_evidence(*sure).at(0.9).interval[1] < 0.9
    low, high = fit_evidence(*honest).at(0.9).interval
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
    assert (table.at(0.0).count, table.at(0.0).right) == (60, 0)
    assert (table.at(1.0).count, table.at(1.0).right) == (60, 59)
    # Both ends are as far away.
    assert table.at(0.5).count == 120


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
