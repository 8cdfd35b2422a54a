from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from carot.calibration.metrics.brier import BrierParts, brier_parts
from carot.calibration.metrics.metrics import top_label
from tests.carot.calibration.drawn_logits import drawn


def total(parts: BrierParts) -> float:
    return parts.reliability - parts.resolution + parts.uncertainty + parts.within


def slow_parts(confidence: list[float], correct: list[bool], bins: int) -> dict[str, float]:
    n = len(confidence)
    places = [max(0, math.ceil(c * bins) - 1) for c in confidence]
    accuracy = sum(correct) / n
    parts = {"reliability": 0.0, "resolution": 0.0, "within": 0.0}
    for place in set(places):
        inside = [(c, o) for c, o, p in zip(confidence, correct, places, strict=True) if p == place]
        share = len(inside) / n
        mean = math.fsum(c for c, _ in inside) / len(inside)
        right = sum(o for _, o in inside) / len(inside)
        variance = math.fsum((c - mean) ** 2 for c, _ in inside) / len(inside)
        covariance = math.fsum((c - mean) * (o - right) for c, o in inside) / len(inside)
        parts["reliability"] += share * (right - mean) ** 2
        parts["resolution"] += share * (right - accuracy) ** 2
        parts["within"] += share * (variance - 2 * covariance)
    score = math.fsum((c - o) ** 2 for c, o in zip(confidence, correct, strict=True)) / n
    return {**parts, "uncertainty": accuracy * (1 - accuracy), "score": score}


@pytest.mark.parametrize("bins", [1, 10, 15])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_parts_match_their_definitions(bins: int, temperature: float) -> None:
    confidence, correct = top_label(*drawn(700, temperature=temperature))
    parts = brier_parts(confidence, correct, bins)
    for name, expected in slow_parts(confidence.tolist(), correct.tolist(), bins).items():
        assert getattr(parts, name) == pytest.approx(expected, rel=1e-10, abs=1e-13), name
    assert parts.score == pytest.approx(
        brier_score_loss(correct.numpy(), confidence.numpy()), rel=1e-12
    )


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_the_parts_add_up(answers: list[tuple[float, bool]], bins: int) -> None:
    confidence, correct = zip(*answers, strict=True)
    parts = brier_parts(torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct), bins)
    assert total(parts) == pytest.approx(parts.score, rel=1e-12, abs=1e-14)


def test_equal_confidences_in_a_bin_leave_nothing_within() -> None:
    """Murphy's three parts, in eighths: exact."""
    confidence = torch.tensor([0.75] * 4 + [1.0] * 4, dtype=torch.float64)
    correct = torch.tensor([True, True, False, False] + [True] * 4)
    parts = brier_parts(confidence, correct)
    assert parts == BrierParts(
        score=(2 * 0.0625 + 2 * 0.5625) / 8,
        reliability=0.5 * 0.0625,
        resolution=0.5 * 0.0625 + 0.5 * 0.0625,
        uncertainty=0.75 * 0.25,
        within=0.0,
    )
    assert total(parts) == parts.score


def test_ends_and_a_single_image() -> None:
    sure = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert brier_parts(sure, torch.tensor([True, False])).score == 0.0
    assert brier_parts(sure, torch.tensor([False, True])).reliability == 1.0
    one = brier_parts(torch.tensor([0.75]), torch.tensor([True]))
    assert one == BrierParts(0.0625, 0.0625, 0.0, 0.0, 0.0)
    half = brier_parts(torch.tensor([0.75, 0.5], dtype=torch.float16), torch.tensor([True, True]))
    assert half.score == (0.0625 + 0.25) / 2
