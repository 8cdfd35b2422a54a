from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from torch import Tensor

from carot.calibration.metrics import differences
from carot.calibration.metrics.bins import BinStatistics, equal_mass_bins
from carot.calibration.metrics.differences import binned, debiased_square, mean, paired_difference
from carot.calibration.metrics.metrics import compute_metrics, top_label
from carot.errors import CalibrationError
from tests.carot.calibration.drawn_logits import drawn


def pair(images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Squared errors of a model and of a slightly worse one on the same images."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(images, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(images, 1, generator=generator, dtype=torch.float64)
    return first, first + 0.02 + 0.1 * noise


def test_the_interval_of_a_mean_is_scipys() -> None:
    first, second = pair(400)
    found = paired_difference(first, second, mean, resamples=4000)
    expected = bootstrap(
        ((second - first).squeeze(1).numpy(),),
        np.mean,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert found.value == pytest.approx(float((second - first).mean()), rel=1e-12)
    width = expected.high - expected.low
    assert found.interval == pytest.approx((expected.low, expected.high), abs=0.05 * width)


def test_pairs_make_it_narrow() -> None:
    """Of two models that fail on the same images, the images cancel out."""
    first, second = pair(400)
    low, high = paired_difference(first, second, mean).interval
    low_apart, high_apart = paired_difference(first, second.flip(0), mean).interval
    assert high - low < (high_apart - low_apart) / 2


def test_draws_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = pair(100)
    found = paired_difference(first, second, mean)
    assert found == paired_difference(first, second, mean)
    assert found != paired_difference(first, second, mean, seed=1)
    monkeypatch.setattr(differences, "DRAWS", 777)
    in_blocks = paired_difference(first, second, mean)
    assert in_blocks.interval == pytest.approx(found.interval, rel=1e-12)
    back = paired_difference(second, first, mean)
    assert back.value == -found.value
    assert back.interval == pytest.approx((-found.interval[1], -found.interval[0]), rel=1e-9)
    same = paired_difference(first, first, mean)
    assert (same.value, same.interval) == (0.0, (0.0, 0.0))


def test_the_sums_are_those_of_the_bins() -> None:
    logits, labels = drawn(20, temperature=2.0)  # Ten of 20 images are alone in their bin.
    for images in (20, 1):
        confidence, correct = top_label(logits[:images], labels[:images])
        whole = BinStatistics.of(confidence, correct, equal_mass_bins(confidence, 15), 15)
        sums = binned(confidence, correct).sum(0, keepdim=True)
        assert float(debiased_square(sums, images)) == pytest.approx(whole.debiased_square())
    many = drawn(3000, temperature=2.0)
    sums = binned(*top_label(*many)).sum(0, keepdim=True)
    expected = compute_metrics(*many).debiased_squared
    assert float(debiased_square(sums, 3000)) == pytest.approx(expected, rel=1e-10)


def test_a_literal_bootstrap_of_the_calibration_error_agrees() -> None:
    first, second = drawn(300, temperature=3.0), drawn(300, temperature=1.2)
    rows = [binned(*top_label(*each)) for each in (first, second)]
    found = paired_difference(rows[0], rows[1], debiased_square, resamples=2000)
    rng, values = np.random.default_rng(1), []
    for _ in range(2000):
        chosen = torch.from_numpy(rng.integers(0, 300, 300))
        sums = [each[chosen].sum(0, keepdim=True) for each in rows]
        values.append(float(debiased_square(sums[1], 300) - debiased_square(sums[0], 300)))
    low, high = np.quantile(values, [0.025, 0.975]) - np.mean(values) + found.value
    assert found.interval == pytest.approx((low, high), abs=0.06 * (high - low))


def test_growth_by_resampling_is_taken_off() -> None:
    """The square of a mean grows by its variance; around 0 that is as much as it varies."""
    rows = torch.linspace(-1, 1, 10, dtype=torch.float64)[:, None]
    found = paired_difference(
        torch.zeros(10, 1), rows, lambda sums, images: mean(sums, images).square()
    )
    assert found.value == pytest.approx(0.0, abs=1e-15)
    # A chi-squared variable of one degree, times the variance of the mean, less its expectation.
    variance = float(rows.square().mean()) / 10
    assert found.interval[0] == pytest.approx(-variance, rel=0.15)
    assert found.interval[1] == pytest.approx((5.024 - 1) * variance, rel=0.15)


@pytest.mark.parametrize("gap", [0.0, 0.4], ids=["both calibrated", "one overconfident"])
def test_it_holds_the_truth(gap: float) -> None:
    """A calibrated model beside another; a percentile interval of ECE holds in 1 of 7 cases."""
    generator = torch.Generator().manual_seed(0)

    def rows(images: int) -> tuple[Tensor, Tensor]:
        chance = 0.35 + 0.65 * torch.rand(images, generator=generator, dtype=torch.float64)
        correct = torch.rand(images, generator=generator, dtype=torch.float64) < chance
        return binned(chance, correct), binned(1 - (1 - chance) * (1 - gap), correct)

    # In equal shares of chance, the gap is `gap` times 1 − chance.
    middle = 0.65 * (torch.arange(15, dtype=torch.float64) + 0.5) / 15
    truth = float((gap * middle).square().mean())
    held = 0
    for seed in range(200):
        low, high = paired_difference(
            *rows(500), debiased_square, resamples=200, seed=seed
        ).interval
        held += low <= truth <= high
    # 190 expected of an exact interval; fewer than 180 has a chance below 1 in 400.
    assert held >= 180


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.zeros(3, 1), torch.zeros(4, 1), "same images"),
        (torch.zeros(3), torch.zeros(3), "same images"),
        (torch.zeros(0, 1), torch.zeros(0, 1), "same images"),
        (torch.zeros(3, 1), torch.full((3, 1), torch.nan), "not finite"),
    ],
)
def test_what_is_no_pair_is_refused(first: Tensor, second: Tensor, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        paired_difference(first, second, mean)
