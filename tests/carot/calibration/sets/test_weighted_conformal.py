"""Weighted sets: thresholds literally, coverage under shift, and when there are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from carot.calibration.sets.conformal import fit_conformal
from carot.calibration.sets.weighted_conformal import (
    LEAST_EFFECTIVE,
    effective_sample_size,
    likelihood_ratios,
    weighted_sets,
    weighted_thresholds,
)
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def literal(scores: list[float], weights: list[float], own: float, coverage: float) -> float:
    """The smallest score with enough mass below, by trying all."""
    total = math.fsum(weights) + own
    for score in sorted(scores):
        below = math.fsum(w for s, w in zip(scores, weights, strict=True) if s <= score)
        if below / total >= coverage:
            return score
    return math.inf


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_thresholds_are_the_literal_ones(coverage: float) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(300, generator=generator, dtype=torch.float64).mul(50).round()
    weights = torch.rand(300, generator=generator, dtype=torch.float64) + 0.2
    own = torch.tensor([0.0, 0.5, 3.0, 40.0], dtype=torch.float64)
    found = weighted_thresholds(scores, weights, own, coverage)
    expected = [literal(scores.tolist(), weights.tolist(), w, coverage) for w in own.tolist()]
    assert found.tolist() == expected


def test_equal_weights_are_split_conformal_prediction() -> None:
    logits, labels = drawn(499, 6, temperature=2.0)
    asked, _ = drawn(200, 6, temperature=2.0, seed=1)
    probabilities, others = logits.softmax(dim=1), asked.softmax(dim=1)
    ones = torch.ones(499) * 7, torch.ones(200) * 7
    for coverage in (0.7, 0.9, 0.99):
        plain = fit_conformal(probabilities, labels, "raps").sets(others, coverage)
        found = weighted_sets(probabilities, labels, ones[0], others, ones[1], coverage, "raps")
        assert torch.equal(found, plain)


def shifted(images: int, mean: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images of one feature x ~ N(mean, 1): the larger, the less their logits say."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(images, generator=generator, dtype=torch.float64) + mean
    logits = 3 * torch.randn(images, 5, generator=generator, dtype=torch.float64)
    true = (logits * (-x).sigmoid()[:, None]).softmax(dim=1)
    labels = torch.multinomial(true, 1, generator=generator).squeeze(1)
    return logits.softmax(dim=1), labels, x


def test_with_true_ratios_sets_cover_where_plain_ones_do_not() -> None:
    coverage = 0.9
    plain: list[float] = []
    weighted: list[float] = []
    estimated: list[float] = []
    for seed in range(20):
        p, y, x = shifted(2000, 0.0, seed)
        asked, truth, at = shifted(2000, 1.0, 100 + seed)
        # N(1, 1) over N(0, 1).
        weights = (x - 0.5).exp(), (at - 0.5).exp()
        guessed = likelihood_ratios(x[:, None], at[:, None])
        held = [
            weighted_sets(p, y, w[0], asked, w[1], coverage).gather(1, truth[:, None])
            for w in ((torch.ones(2000), torch.ones(2000)), weights, guessed)
        ]
        for found, each in zip((plain, weighted, estimated), held, strict=True):
            found.append(float(each.double().mean()))
    assert np.mean(plain) < 0.85
    assert np.mean(weighted) == pytest.approx(0.9, abs=0.01)
    assert np.mean(estimated) == pytest.approx(0.9, abs=0.01)


def test_estimated_ratios_are_near_the_true_ones() -> None:
    _, _, x = shifted(20_000, 0.0, 1)
    _, _, at = shifted(10_000, 1.0, 2)
    weights, asked = likelihood_ratios(x[:, None], at[:, None])
    np.testing.assert_allclose(weights.log().numpy(), (x - 0.5).numpy(), atol=0.25)
    np.testing.assert_allclose(asked.log().numpy(), (at - 0.5).numpy(), atol=0.25)


def test_effective_images() -> None:
    assert effective_sample_size(torch.full((50,), 3.0)) == pytest.approx(50)
    assert effective_sample_size(torch.tensor([1.0, 0.0, 0.0])) == pytest.approx(1)
    weights = torch.tensor([1.0, 2.0, 3.0])
    assert effective_sample_size(weights) == pytest.approx(36 / 14)
    assert effective_sample_size(weights.double() * 1e300) == pytest.approx(36 / 14)


def test_where_few_images_carry_the_weight_there_are_no_sets() -> None:
    scores, own = torch.rand(1000), torch.ones(3)
    weighted_thresholds(scores[:100], torch.ones(100), own, 0.9)
    collapsed = torch.ones(1000)
    collapsed[:5] = 1000.0
    assert effective_sample_size(collapsed) < LEAST_EFFECTIVE
    with pytest.raises(
        CalibrationError, match=r"7\.2 effective calibration images of 1000"
    ) as told:
        weighted_thresholds(scores, collapsed, own, 0.9)
    assert told.value.field == "weights"
    # A high coverage needs more of them.
    with pytest.raises(CalibrationError, match="need 999"):
        weighted_thresholds(scores[:500], torch.ones(500), own, 0.999)


def test_what_are_no_weights_is_refused() -> None:
    scores = torch.rand(200)
    for weights in (-torch.ones(200), torch.full((200,), math.nan), torch.zeros(200),
                    torch.ones(199), torch.ones(200, 1)):  # fmt: skip
        with pytest.raises(CalibrationError) as told:
            weighted_thresholds(scores, weights, torch.ones(2), 0.9)
        assert told.value.field == "weights"
