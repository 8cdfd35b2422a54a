from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from carot.calibration.metrics.bins import BinStatistics, equal_mass_bins, equal_width_bins
from carot.calibration.metrics.metrics import top_label, top_label_ece
from tests.carot.calibration.drawn_logits import drawn


def test_bin_edges_belong_to_the_bin_below() -> None:
    edges = torch.arange(16, dtype=torch.float64) / 15
    assert equal_width_bins(edges, 15).tolist() == [0, *range(15)]
    above = torch.nextafter(edges[:-1], torch.ones(15, dtype=torch.float64))
    assert equal_width_bins(above, 15).tolist() == list(range(15))


def test_a_confidence_of_one_shares_the_last_bin() -> None:
    # 10 bins, {0.95 right, 1.0 wrong}: one bin, |1 - 1.95| / 2. A bin of its own would say 0.525.
    confidence = torch.tensor([0.95, 1.0], dtype=torch.float64)
    assert top_label_ece(confidence, torch.tensor([True, False]), 10) == pytest.approx(0.475)
    # A confidence of 0 is counted, too.
    assert top_label_ece(torch.zeros(4), torch.ones(4, dtype=torch.bool)) == 1.0


def test_equal_confidences_share_a_bin_of_equal_mass() -> None:
    confidence = torch.tensor([0.5] * 40 + [0.9] * 50)
    places = equal_mass_bins(confidence, 15)
    assert len(places[:40].unique()) == len(places[40:].unique()) == 1
    assert places.min() >= 0
    assert places.max() <= 14
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    assert torch.equal(equal_mass_bins(confidence[order], 15), places[order])
    counts = equal_mass_bins(torch.rand(100, generator=torch.Generator()), 15).bincount()
    assert set(counts.tolist()) <= {6, 7}
    assert len(counts) == 15


def test_statistics_of_parts_add_up_to_those_of_the_whole() -> None:
    confidence, correct = top_label(*drawn(999, temperature=2.0))
    places = equal_width_bins(confidence, 15)

    def statistics(part: slice) -> BinStatistics:
        return BinStatistics.of(confidence[part], correct[part], places[part], 15)

    merged = statistics(slice(0, 100)) + statistics(slice(100, 100)) + statistics(slice(100, None))
    whole = statistics(slice(None))
    assert torch.equal(merged.count_B, whole.count_B)
    assert torch.equal(merged.correct_B, whole.correct_B)
    torch.testing.assert_close(merged.confidence_B, whole.confidence_B, rtol=1e-13, atol=0)
    assert merged.error() == pytest.approx(whole.error(), rel=1e-12)
    for name in ("root_mean_square_error", "debiased_square", "debiased_error"):
        assert getattr(merged, name)() == pytest.approx(getattr(whole, name)(), rel=1e-10), name
    assert merged.largest_error(10) == pytest.approx(whole.largest_error(10), rel=1e-12)


def filled(*bins: tuple[int, float, int]) -> BinStatistics:
    """Of (images, mean confidence, right answers) per bin."""
    count, confidence, correct = zip(*bins, strict=True)
    count_B = torch.tensor(count)
    confidence_B = torch.tensor(confidence, dtype=torch.float64) * count_B
    return BinStatistics(count_B, confidence_B, torch.tensor(correct, dtype=torch.float64))


def test_the_norms_weigh_the_same_gaps() -> None:
    statistics = filled((10, 0.25, 5), (0, 0.0, 0), (30, 0.75, 30), (1, 1.0, 0))
    gaps, weights = np.array([0.25, 0.25, 1.0]), np.array([10, 30, 1]) / 41
    assert statistics.error() == pytest.approx(float(weights @ gaps), rel=1e-14)
    assert statistics.root_mean_square_error() == pytest.approx(
        math.sqrt(float(weights @ gaps**2)), rel=1e-14
    )
    assert statistics.largest_error(1) == statistics.largest_error(0) == 1.0
    assert statistics.largest_error(2) == 0.25
    assert statistics.largest_error(30) == 0.25
    assert statistics.largest_error(31) is None
    for seed in range(3):
        confidence, correct = top_label(*drawn(500, temperature=2.0, seed=seed))
        width = BinStatistics.of(confidence, correct, equal_width_bins(confidence, 15), 15)
        largest = width.largest_error(1)
        assert largest is not None
        assert width.error() <= width.root_mean_square_error() <= largest


def test_the_debiased_square_is_unbiased() -> None:
    """Over all outcomes of one bin, by enumeration: exactly the squared gap, and below 0 at times.

    With all confidences of the bin equal, as Kumar et al. assume.
    """
    n, confidence = 5, 0.7
    for chance in (0.7, 0.4):
        values = [filled((n, confidence, right)).debiased_square() for right in range(n + 1)]
        chances = [math.comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(n + 1)]
        expected = math.fsum(v * c for v, c in zip(values, chances, strict=True))
        assert expected == pytest.approx((chance - confidence) ** 2, abs=1e-15)
        assert min(values) < 0
    assert filled((1, 0.5, 1), (0, 0.0, 0)).debiased_square() == 0.0
    assert filled((4, 0.75, 3)).debiased_error() == 0.0


def test_debiasing_takes_the_bias_off() -> None:
    plain, debiased = [], []
    for seed in range(20):
        confidence, correct = top_label(*drawn(1000, seed=seed))
        mass = BinStatistics.of(confidence, correct, equal_mass_bins(confidence, 15), 15)
        n = mass.count_B.double()
        plain.append(float((mass.correct_B - mass.confidence_B).square().div(n).sum()) / 1000)
        debiased.append(mass.debiased_error() ** 2)
    assert np.mean(debiased) < 0.5 * np.mean(plain)


def test_bins_of_one_image_do_not_spoil_the_debiased_error() -> None:
    """Of 20 images, ten bins hold one each. The five pairs are all wrong: no variance."""
    confidence = torch.linspace(0.5, 0.9, 20, dtype=torch.float64)
    places = equal_mass_bins(confidence, 15)
    pairs = places.bincount()[places] == 2
    assert int(pairs.sum()) == 10
    mass = BinStatistics.of(confidence, ~pairs, places, 15)
    means = confidence[pairs].reshape(5, 2).mean(1)
    expected = math.sqrt(2 * float(means.square().sum()) / 20)
    assert mass.debiased_error() == pytest.approx(expected)
    alone = BinStatistics.of(confidence[:1], pairs[:1], places[:1], 15)
    assert alone.debiased_error() == 0.0
