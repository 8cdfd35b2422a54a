from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from carot.errors import CalibrationError
from carot.evaluation.bound import bound_terms, id_calibration_error, smallest_singular_value
from tests.carot.calibration.drawn_logits import drawn


def correlated(images: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(images, width, generator=generator, dtype=torch.float64) @ mixing


@pytest.mark.parametrize(("images", "width"), [(50, 3), (400, 20), (130, 128)])
def test_matches_the_svd_of_the_correlation_matrix(images: int, width: int) -> None:
    features = correlated(images, width)
    correlation = np.corrcoef(features.numpy(), rowvar=False)
    expected = np.linalg.svd(correlation, compute_uv=False)[-1]
    assert smallest_singular_value(features) == pytest.approx(expected, rel=1e-6, abs=1e-13)


def test_scale_and_offset_of_a_coordinate_do_not_matter() -> None:
    features = correlated(200, 6)
    moved = features * torch.tensor([1e-9, 1e9, -3.0, 1.0, 0.1, 7.0]) + 5
    moved[:, 0] -= 5
    expected = smallest_singular_value(features)
    assert smallest_singular_value(moved) == pytest.approx(expected, rel=1e-6)
    assert smallest_singular_value(features * 1e200) == pytest.approx(expected, rel=1e-9)
    assert smallest_singular_value(features * 1e-200) == pytest.approx(expected, rel=1e-9)


def test_is_one_for_uncorrelated_coordinates_and_never_more() -> None:
    signs = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    assert smallest_singular_value(signs) == pytest.approx(1.0)
    assert smallest_singular_value(signs) <= 1.0
    assert smallest_singular_value(torch.tensor([[1.0], [3.0], [4.0]])) == pytest.approx(1.0)


@pytest.mark.parametrize(("images", "width"), [(1, 1), (5, 20), (20, 20)])
def test_is_zero_with_no_more_images_than_dimensions(images: int, width: int) -> None:
    assert smallest_singular_value(correlated(images, width)) == 0.0


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_is_zero_with_a_constant_coordinate(value: float, dtype: torch.dtype) -> None:
    features = correlated(100, 4).to(dtype)
    features[:, 2] = value
    assert smallest_singular_value(features) == 0.0


def test_rounding_does_not_make_a_constant_vary() -> None:
    features = correlated(100, 4)
    features[:, 2] = 0.3 * (1 + 1e-7 * torch.sign(features[:, 2]))
    assert smallest_singular_value(features) == 0.0
    assert smallest_singular_value(features.float()) == 0.0


def test_is_zero_with_a_repeated_coordinate() -> None:
    features = correlated(100, 4)
    assert smallest_singular_value(torch.cat([features, 2 - 3 * features[:, :1]], 1)) == 0.0


def test_half_precision_features_are_raised_first() -> None:
    features = correlated(300, 5).half()
    assert smallest_singular_value(features) == smallest_singular_value(features.double())


@pytest.mark.parametrize(
    "features",
    [
        torch.zeros(3),
        torch.zeros(0, 3),
        torch.zeros(3, 0),
        torch.tensor([[math.nan], [1.0], [2.0]]),
    ],
)
def test_nonsense_is_refused(features: Tensor) -> None:
    with pytest.raises(CalibrationError):
        smallest_singular_value(features)


def test_the_calibration_error_is_that_of_a_known_gap() -> None:
    """Confidence 0.9 throughout, right in 60 %: (0.3)² less 0.24 / (N − 1), from one bin."""
    logits = torch.tensor([[math.log(9.0), 0.0]], dtype=torch.float64).repeat(1000, 1)
    labels = (torch.arange(1000) % 10 >= 6).long()
    assert id_calibration_error(logits, labels) == pytest.approx(0.09 - 0.24 / 999)


def test_the_terms_rank_models_but_say_nothing_as_numbers() -> None:
    features = correlated(500, 8)
    good = bound_terms(*drawn(500), features)
    bad = bound_terms(*drawn(500, temperature=4.0), features)
    assert good.calibration_error < bad.calibration_error
    assert good.total < bad.total
    # At least D, while no error exceeds 1: vacuous, as the module says.
    assert good.spread == pytest.approx(8 / good.sigma_min)
    assert good.spread >= 8
    few = bound_terms(*drawn(8), features[:8])
    assert (few.sigma_min, few.spread, few.total) == (0.0, math.inf, math.inf)
    with pytest.raises(CalibrationError, match="features"):
        bound_terms(*drawn(10), features)
