from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from carot.training.anchors import each_filtered, random_filters


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(5), dtype=torch.float64)


def literal(images_NCHW: np.ndarray, count: int, seed: int, *, each: bool = False) -> np.ndarray:
    """The same draws in the same order, one pixel at a time; `each` keeps the images' order."""
    generator = seeded(seed)
    _, channels, height, width = images_NCHW.shape
    drawn = list(range(count))
    if not each:
        drawn = torch.randperm(len(images_NCHW), generator=generator)[:count].tolist()
    normal = torch.randn(count, channels, channels, 3, 3, generator=generator).numpy()
    shares = torch.rand(count, generator=generator).numpy()
    found = np.zeros((count, channels, height, width))
    for a, c, y, x in np.ndindex(*found.shape):
        image = images_NCHW[drawn[a]]
        filtered = 0.0
        for k, dy, dx in np.ndindex(channels, 3, 3):
            row, column = y + dy - 1, x + dx - 1
            if 0 <= row < height and 0 <= column < width:
                weight = float(normal[a, c, k, dy, dx]) / math.sqrt(9 * channels)
                filtered += weight * image[k, row, column]
        share = float(shares[a]) / 2
        found[a, c, y, x] = share * image[c, y, x] + (1 - share) * filtered
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_filters_match_a_slow_implementation(channels: int, count: int) -> None:
    images_NCHW = images(5, channels, 4, 6)
    found = random_filters(images_NCHW, count, seeded(count))
    assert found.dtype == torch.float64
    # Filters are drawn, and divided, in float32.
    np.testing.assert_allclose(found, literal(images_NCHW.numpy(), count, count), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_in_order_matches_a_slow_implementation(channels: int) -> None:
    images_NCHW = images(5, channels, 4, 6)
    expected = literal(images_NCHW.numpy(), 5, 8, each=True)
    np.testing.assert_allclose(each_filtered(images_NCHW, seeded(8)), expected, atol=1e-6)


def test_all_that_is_random_comes_from_the_generator() -> None:
    images_NCHW = images(6, 3, 5, 5).float()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    found = random_filters(images_NCHW, 4, seeded())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(random_filters(images_NCHW, 4, seeded()), found)
    assert not torch.allclose(random_filters(images_NCHW, 4, seeded(1)), found)
    generator = seeded()
    random_filters(images_NCHW, 4, generator)
    assert not torch.allclose(random_filters(images_NCHW, 4, generator), found)


@pytest.mark.parametrize("count", [5, 9])
def test_images_are_drawn_without_replacement(count: int) -> None:
    # Image n is one pixel; a filter spreads it over that pixel's neighbours, and no further.
    images_NCHW = torch.zeros(9, 1, 9, 9)
    places = [(3 * row + 1, 3 * column + 1) for row in range(3) for column in range(3)]
    for image, (row, column) in zip(images_NCHW, places, strict=True):
        image[0, row, column] = 1.0
    for seed in range(20):
        found = random_filters(images_NCHW, count, seeded(seed))
        blocks = found[:, 0].unflatten(1, (3, 3)).unflatten(3, (3, 3)).abs().sum(dim=(2, 4))
        seen = [block.flatten().nonzero().flatten().tolist() for block in blocks]
        assert all(len(each) == 1 for each in seen)
        assert len({each[0] for each in seen}) == count


def test_each_image_has_a_filter_of_its_own() -> None:
    images_NCHW = images(1, 3, 5, 5).expand(4, -1, -1, -1)
    found = random_filters(images_NCHW, 4, seeded())
    for index in range(4):
        assert not any(torch.allclose(found[index], other) for other in found[:index])


def test_filters_are_normal_and_shares_uniform() -> None:
    # Of a lone pixel in channel 0: elsewhere (1 - λ) w is left, and λ + (1 - λ) w in its place.
    number = 4000
    images_NCHW = torch.zeros(number, 3, 3, 3)
    images_NCHW[:, 0, 1, 1] = 1.0
    found = random_filters(images_NCHW, number, seeded()).double()
    others = found[:, 1:].square()
    expected = 1 / 27 * 7 / 12  # E w² · E (1 - λ)², λ uniform up to a half
    per_image = others.mean(dim=(1, 2, 3))
    assert abs(per_image.mean() - expected) < 5 * per_image.std() / math.sqrt(number)
    centre = found[:, 0, 1, 1]
    for power, value in ((1, 1 / 4), (2, 1 / 12 + expected)):
        sample = centre**power
        assert abs(sample.mean() - value) < 5 * sample.std() / math.sqrt(number)
    # Fourth moment over squared second: 3 of the normal, (31 / 80) / (7 / 12)² of (1 - λ).
    ratio = found[:, 1:].pow(4).mean() / others.mean() ** 2
    assert float(ratio) == pytest.approx(3 * (31 / 80) / (7 / 12) ** 2, rel=0.1)


def test_no_gradient_reaches_the_images_and_they_stay() -> None:
    images_NCHW = images(3, 3, 4, 4).requires_grad_()
    before = images_NCHW.detach().clone()
    found = random_filters(images_NCHW, 3, seeded())
    assert not found.requires_grad
    assert torch.equal(images_NCHW, before)
