from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from carot.calibration.metrics.bins import BinStatistics, equal_mass_bins
from carot.calibration.metrics.debiased_interval import debiased_interval
from carot.calibration.metrics.metrics import top_label
from tests.carot.calibration.drawn_logits import drawn

BINS = 15
SIMULATIONS = 600

Map = Callable[[np.ndarray], np.ndarray]


def statistics(confidence: torch.Tensor, correct: torch.Tensor) -> BinStatistics:
    return BinStatistics.of(confidence, correct, equal_mass_bins(confidence, BINS), BINS)


def coverage(accuracy: Map, images: int, seed: int = 0) -> tuple[float, float, float]:
    """Share of intervals that hold the truth, the truth, and the mean of the estimates.

    Images are drawn anew each time, so that confidences vary as well.
    """
    rng = np.random.default_rng(seed)
    grid = 0.3 + 0.7 * (np.arange(150_000) + 0.5) / 150_000
    gaps = (accuracy(grid) - grid).reshape(BINS, -1).mean(axis=1)
    truth = float(np.mean(gaps**2))
    held, estimates = 0, []
    for _ in range(SIMULATIONS):
        confidence = 0.3 + 0.7 * rng.random(images)
        correct = rng.random(images) < accuracy(confidence)
        drawn_now = statistics(torch.from_numpy(confidence), torch.from_numpy(correct))
        low, high = debiased_interval(drawn_now)
        held += low <= truth <= high
        estimates.append(drawn_now.debiased_square())
    return held / SIMULATIONS, truth, float(np.mean(estimates))


@pytest.mark.parametrize(
    "accuracy",
    [lambda c: c - 0.3 * (c - 0.3), lambda c: c**1.5, lambda c: c + 0.4 * c * (1 - c)],
    ids=["overconfident", "bent", "underconfident"],
)
def test_it_holds_for_miscalibrated_models(accuracy: Map) -> None:
    share, truth, mean = coverage(accuracy, 2000)
    assert 0.93 <= share <= 0.97
    assert mean == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("images", [300, 3000])
def test_it_holds_for_calibrated_models(images: int) -> None:
    share, truth, mean = coverage(lambda c: c, images)
    assert truth < 1e-20
    assert share >= 0.93
    # Unbiased: within four standard errors of 0. The deviation of one is √(2 Σ σ⁴) / N.
    assert abs(mean) < 4 * math.sqrt(2 * BINS) * 0.2 / images / math.sqrt(SIMULATIONS)


def test_it_holds_between_the_two() -> None:
    """Where the error is of the size of its uncertainty, neither rate of convergence rules."""
    share, truth, _ = coverage(lambda c: c - 0.02 * c, 1000)
    assert 0 < truth < 3e-4
    assert share >= 0.93


def test_it_holds_for_the_draw_of_the_images() -> None:
    """All right at a confidence of ½ and 1: only how many are of which kind is left to chance."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(SIMULATIONS):
        confidence = torch.from_numpy(0.5 + 0.5 * (rng.random(1000) < 0.5))
        low, high = debiased_interval(statistics(confidence, torch.ones(1000, dtype=torch.bool)))
        held += low <= 0.5 * 0.25 <= high
    assert 0.93 <= held / SIMULATIONS <= 0.97


def test_it_shrinks_at_two_rates() -> None:
    widths: dict[str, list[float]] = {"calibrated": [], "miscalibrated": []}
    for name, temperature in (("calibrated", 1.0), ("miscalibrated", 3.0)):
        for images in (1000, 16_000):
            low, high = debiased_interval(
                statistics(*top_label(*drawn(images, temperature=temperature)))
            )
            widths[name].append(high - low)
    assert widths["calibrated"][0] / widths["calibrated"][1] == pytest.approx(16, rel=0.5)
    assert widths["miscalibrated"][0] / widths["miscalibrated"][1] == pytest.approx(4, rel=0.3)


def test_it_surrounds_the_estimate_and_tells_a_miscalibrated_model() -> None:
    bad = statistics(*top_label(*drawn(1000, temperature=3.0)))
    low, high = debiased_interval(bad)
    assert 0 < low < bad.debiased_square() < high
    good = [statistics(*top_label(*drawn(1000, seed=seed))) for seed in range(20)]
    assert any(each.debiased_square() < 0 for each in good)
    assert sum(debiased_interval(each)[0] == 0.0 for each in good) >= 17
    assert all(debiased_interval(each)[1] > max(0, each.debiased_square()) for each in good)


def test_neither_order_nor_merging_shows() -> None:
    confidence, correct = top_label(*drawn(999, temperature=2.0))
    places = equal_mass_bins(confidence, BINS)
    order = torch.randperm(999, generator=torch.Generator().manual_seed(0))
    merged = BinStatistics.of(confidence[:0], correct[:0], places[:0], BINS)
    for part in order.split(100):
        merged += BinStatistics.of(confidence[part], correct[part], places[part], BINS)
    whole = statistics(confidence, correct)
    assert debiased_interval(merged) == pytest.approx(debiased_interval(whole), rel=1e-10)


def test_what_cannot_be_known_is_left_open() -> None:
    one = statistics(torch.tensor([0.5]), torch.tensor([True]))
    assert debiased_interval(one) == (0.0, 1.0)
    # Ten of twenty images are alone in their bin.
    confidence = torch.linspace(0.5, 0.9, 20, dtype=torch.float64)
    low, high = debiased_interval(statistics(confidence, torch.arange(20) % 2 == 0))
    assert low == 0.0
    assert high > 0.5
    # All sure and all right: no gap, and an upper end of the order of 1 / N².
    sure = statistics(torch.ones(1000), torch.ones(1000, dtype=torch.bool))
    assert sure.debiased_square() == 0.0
    low, high = debiased_interval(sure)
    assert low == 0.0
    assert high == pytest.approx(1.96 * math.sqrt(2) / 1000**2, rel=0.01)
    wrong = statistics(torch.ones(1000), torch.zeros(1000, dtype=torch.bool))
    assert debiased_interval(wrong)[0] > 0.99
    assert debiased_interval(wrong)[1] == 1.0
