from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor

from carot.calibration.metrics.metrics import top_label
from carot.calibration.metrics.smooth_ece import _Smoothed, residuals_on_grid, smooth_ece
from tests.carot.calibration.drawn_logits import drawn

POINTS = np.linspace(0, 1, 4001)


def exact(confidence: np.ndarray, residual: np.ndarray, sigma: float) -> float:
    """smECE_σ without a grid for the mass: differences of the antiderivative, image by image.

    Exact where the density keeps its sign between two neighbouring points.
    """
    integral = np.zeros_like(POINTS)
    for c, r in zip(confidence, residual, strict=True):
        for turn in range(-8, 9, 2):
            for image in (turn + c, turn - c):
                integral += r / len(confidence) * norm.cdf((POINTS - image) / sigma)
    return float(np.abs(np.diff(integral)).sum())


def exact_fixed_point(confidence: Tensor, correct: Tensor) -> float:
    values, group = np.unique(confidence.double().numpy(), return_inverse=True)
    sums = np.bincount(group, correct.double().numpy() - confidence.double().numpy())
    residual = sums * (len(values) / len(confidence))
    return float(brentq(lambda s: exact(values, residual, s) - s, 1e-4, 1.0, xtol=1e-9))


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.3, 1.0])
def test_the_smoothed_error_is_the_integral(sigma: float) -> None:
    confidence, correct = top_label(*drawn(60, temperature=1.5))
    confidence[:20] = 1.0
    confidence[20:25] = 0.0
    residual = (correct.double() - confidence).numpy()
    expected = exact(confidence.numpy(), residual, sigma)
    for cells, tolerance in ((2048, 5e-4), (32768, 5e-5)):
        grid = _Smoothed(residuals_on_grid(confidence, correct, cells))
        assert grid.error(sigma) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_fixed_point_is_the_exact_one(temperature: float) -> None:
    confidence, correct = top_label(*drawn(80, temperature=temperature))
    found = smooth_ece(confidence, correct)
    assert found == pytest.approx(exact_fixed_point(confidence, correct), rel=1e-4)
    mass = residuals_on_grid(confidence, correct, 2048)
    assert _Smoothed(mass).error(found) == pytest.approx(found, abs=1e-11)


@pytest.mark.parametrize(("at_one", "at_half"), [(1.0, 0.3), (0.9, 0.6), (0.7, 0.7), (0.95, 0.5)])
def test_half_the_mass_at_confidence_one(at_one: float, at_half: float) -> None:
    """The end of the interval keeps its whole weight: the first case is 0.1 whatever the width."""
    confidence = torch.cat((torch.ones(100), torch.full((100,), 0.5))).double()
    place = torch.arange(100)
    correct = torch.cat((place < 100 * at_one, place < 100 * at_half))
    found = smooth_ece(confidence, correct)
    assert found == pytest.approx(exact_fixed_point(confidence, correct), rel=1e-5)
    if at_one == 1.0:
        assert found == pytest.approx(0.1, rel=1e-9)
    # Mirrored, with all confidences at most a half: the other end.
    mirrored = smooth_ece(1 - confidence, ~correct)
    assert mirrored == pytest.approx(found, rel=1e-9)


ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30)


@given(ANSWERS, st.randoms(use_true_random=False))
def test_it_lies_between_the_mean_gap_and_the_mean_size_of_a_gap(
    answers: list[tuple[float, bool]], random: object
) -> None:
    confidence, correct = zip(*answers, strict=True)
    values, outcomes = torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct)
    found = smooth_ece(values, outcomes)
    residual = outcomes.double() - values
    assert abs(float(residual.mean())) - 1e-11 <= found <= float(residual.abs().mean()) + 1e-11
    grid = _Smoothed(residuals_on_grid(values, outcomes, 2048))
    errors = [grid.error(sigma) for sigma in (0.002, 0.01, 0.1, 0.5, 1.0)]
    assert all(wide <= narrow + 1e-12 for narrow, wide in pairwise(errors))
    random.shuffle(answers)  # type: ignore[attr-defined]
    confidence, correct = zip(*answers, strict=True)
    shuffled = smooth_ece(torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct))
    assert shuffled == pytest.approx(found, abs=1e-11)


def test_grids_of_parts_add_up_to_the_grid_of_the_whole() -> None:
    confidence, correct = top_label(*drawn(900, temperature=2.0))
    parts = [
        residuals_on_grid(confidence[part], correct[part], 64) * size / 900
        for part, size in ((slice(0, 300), 300), (slice(300, None), 600))
    ]
    torch.testing.assert_close(
        parts[0] + parts[1], residuals_on_grid(confidence, correct, 64), rtol=1e-12, atol=1e-15
    )


def test_extremes() -> None:
    ones = torch.ones(5)
    assert smooth_ece(ones, torch.ones(5, dtype=torch.bool)) == 0.0
    assert smooth_ece(ones, torch.zeros(5, dtype=torch.bool)) == pytest.approx(1.0)
    assert smooth_ece(torch.zeros(5), torch.ones(5, dtype=torch.bool)) == pytest.approx(1.0)
    for images in range(1, 60):  # Some of whose reciprocals add up to more than 1.
        wrong = smooth_ece(torch.ones(images), torch.zeros(images, dtype=torch.bool))
        assert 1 - 1e-12 <= wrong <= 1
    assert smooth_ece(torch.tensor([0.75]), torch.tensor([True])) == pytest.approx(0.25)
    half = torch.tensor([0.75, 0.5, 1.0], dtype=torch.float16)
    correct = torch.tensor([True, False, False])
    assert smooth_ece(half, correct) == smooth_ece(half.double(), correct)
    # Calibrated, and unlike a binned error near 0 without bins to choose.
    assert smooth_ece(*top_label(*drawn(20_000))) < 0.02
