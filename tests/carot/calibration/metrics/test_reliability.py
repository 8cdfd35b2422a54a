from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from scipy.stats import binomtest

from carot.calibration.metrics.intervals import wilson_interval
from carot.calibration.metrics.metrics import compute_metrics
from carot.calibration.metrics.reliability import reliability
from tests.carot.calibration.drawn_logits import drawn


@pytest.mark.parametrize("bins", [10, 15])
def test_bars_tell_the_calibration_error(bins: int) -> None:
    logits, labels = drawn(2000, temperature=2.0)
    bars = reliability(logits, labels, bins)
    assert len(bars) == bins
    assert sum(bar.count for bar in bars) == 2000
    error = 0.0
    for bar in bars:
        if bar.confidence is not None and bar.accuracy is not None:
            assert bar.lower < bar.confidence <= bar.upper
            error += bar.count / 2000 * abs(bar.accuracy - bar.confidence)
    if bins == 15:
        assert error == pytest.approx(compute_metrics(logits, labels).ece, rel=1e-12)


def test_bars_cover_all_confidences_without_a_gap() -> None:
    bars = reliability(*drawn(10))
    assert (bars[0].lower, bars[-1].upper) == (0.0, 1.0)
    for bar, following in pairwise(bars):
        assert bar.upper == following.lower


def test_an_empty_bin_says_nothing() -> None:
    bars = reliability(torch.tensor([[50.0, 0.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1]))
    assert [bar.count for bar in bars] == [0] * 14 + [4]
    for bar in bars[:14]:
        assert (bar.confidence, bar.accuracy, bar.accuracy_interval) == (None, None, None)
    assert bars[-1].accuracy == 0.75
    assert bars[-1].confidence == pytest.approx(1.0)
    assert bars[-1].accuracy_interval == wilson_interval(3, 4)


@pytest.mark.parametrize(
    ("successes", "count"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 10), (731, 1000), (1, 10**6)]
)
def test_the_interval_is_wilsons(successes: int, count: int) -> None:
    expected = binomtest(successes, count).proportion_ci(method="wilson")
    low, high = wilson_interval(successes, count)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= successes / count <= high <= 1


@pytest.mark.parametrize(("successes", "count"), [(0, 0), (2, 1), (-1, 3)])
def test_an_interval_needs_trials(successes: int, count: int) -> None:
    with pytest.raises(ValueError, match="trials"):
        wilson_interval(successes, count)
