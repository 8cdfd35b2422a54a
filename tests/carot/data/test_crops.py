from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from carot.data.crops import ASPECT, Mode, RandomCrop

SQUARE = (32, 32)


def ramps(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards: colours say which part of the image is left."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)[None, :]
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    return Image.fromarray(pixels)


def left(image: Image.Image, crop: RandomCrop, seed: int) -> tuple[float, float, Image.Image]:
    """The shares of width and height that a crop keeps, and the crop."""
    cropped = crop(image, np.random.default_rng(seed))
    pixels: NDArray[np.float64] = np.asarray(cropped, float)
    return np.ptp(pixels[..., 0]) / 255, np.ptp(pixels[..., 1]) / 255, cropped


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
def test_a_crop_of_a_square_keeps_its_share_of_the_area(mode: Mode) -> None:
    image = ramps(64, 64)
    for seed in range(40):
        wide, high, cropped = left(image, RandomCrop(*SQUARE, 0.5, mode), seed)
        assert 0.42 < wide * high <= 1.0
        assert mode == "longest" or cropped.size == SQUARE
    assert RandomCrop(*SQUARE, 1.0, mode)(image, np.random.default_rng(0)) is image


def test_pixels_stay_square_where_evaluation_keeps_them_so() -> None:
    """Of 160 x 64 pixels a model that resizes the shortest side sees 64 x 64."""
    image = ramps(160, 64)
    for seed in range(40):
        wide, high, _ = left(image, RandomCrop(*SQUARE, 0.5, "shortest"), seed)
        ratio = (160 * wide) / (64 * high)
        assert 0.9 / ASPECT < ratio < 1.1 * ASPECT
        assert 160 * wide * 64 * high <= 1.1 * 64 * 64


def test_a_model_that_squashes_is_shown_parts_of_the_whole_width() -> None:
    wide = [left(ramps(160, 64), RandomCrop(*SQUARE, 0.9, "squash"), seed)[0] for seed in range(9)]
    assert min(wide) > 0.8


def test_a_model_that_pads_is_shown_the_aspect_ratio_of_the_image() -> None:
    for seed in range(20):
        cropped = RandomCrop(*SQUARE, 0.9, "longest")(ramps(160, 64), np.random.default_rng(seed))
        assert max(cropped.size) == 32
        assert 1.8 < cropped.width / cropped.height < 3.4


def test_the_interpolation_is_the_models() -> None:
    image = ramps(20, 20)
    for name, resampling in (("bilinear", Image.Resampling.BILINEAR), (None, None)):
        crop = RandomCrop.of(SQUARE, 0.999_999, {"interpolation": name, "resize_mode": "squash"})
        expected = image.resize(SQUARE, resampling or Image.Resampling.BICUBIC)
        shown = np.asarray(crop(image, np.random.default_rng(0)), int)
        assert np.abs(shown - np.asarray(expected, int)).max() <= 1
    bilinear, bicubic = (
        RandomCrop.of(SQUARE, 0.5, {"interpolation": name})(image, np.random.default_rng(0))
        for name in ("bilinear", "bicubic")
    )
    assert bilinear.tobytes() != bicubic.tobytes()
