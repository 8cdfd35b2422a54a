"""Random crops keep to how a model resizes: shape, interpolation and border."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
from PIL import Image

from carot.data.crops import Resizing, random_crop
from carot.models.clip import from_config
from tests.carot.tiny import CONFIG

CIRCLE = 40
"""Radius in pixels, in an image of 300 × 100 or 100 × 300."""


def with_circle(width: int, height: int) -> Image.Image:
    """A white circle in the middle of a black image."""
    y, x = np.mgrid[:height, :width]
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < CIRCLE**2
    return Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).convert("RGB")


def shape_of_circle(image: Image.Image) -> float:
    """Width by height of what is white."""
    white = np.asarray(image)[:, :, 0] > 127
    return float(white.any(axis=0).sum() / white.any(axis=1).sum())


def as_evaluated(image: Image.Image, mode: str) -> Image.Image:
    transform = open_clip.image_transform(64, is_train=False, resize_mode=mode, mean=0, std=1)
    pixels = transform(image).permute(1, 2, 0).numpy()
    return Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(300, 100), (100, 300)], ids=["wide", "tall"])
@pytest.mark.parametrize("mode", ["squash", "longest"])
def test_a_crop_is_stretched_as_in_evaluation(mode: str, size: tuple[int, int]) -> None:
    image = with_circle(*size)
    resizing = Resizing((64, 64), mode)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    crops = [random_crop(image, resizing, 0.9, rng) for _ in range(50)]
    assert {crop.size for crop in crops} == {(64, 64)}
    shapes = [shape_of_circle(crop) for crop in crops]
    expected = shape_of_circle(as_evaluated(image, mode))
    assert np.median(shapes) == pytest.approx(expected, rel=0.1)
    assert expected == pytest.approx(1.0 if mode == "longest" else size[1] / size[0], rel=0.15)


@pytest.mark.parametrize("size", [(300, 100), (100, 300)], ids=["wide", "tall"])
def test_under_shortest_a_crop_has_the_models_shape_and_lies_anywhere(
    size: tuple[int, int],
) -> None:
    image, rng = with_circle(*size), np.random.default_rng(0)
    crops = [random_crop(image, Resizing((64, 64)), 0.9, rng) for _ in range(200)]
    whole = [crop for crop in crops if (np.asarray(crop)[:, :, 0] > 127).sum() > 1900]
    assert 20 < len(whole) < 200, "the circle in some of them, and cut or absent in others"
    assert np.median([shape_of_circle(crop) for crop in whole]) == pytest.approx(1.0, rel=0.1)


def test_a_square_image_is_cropped_alike_whatever_the_mode() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    crops = [
        random_crop(Image.fromarray(noise), Resizing((32, 32), mode), 0.8, np.random.default_rng(1))
        for mode in ("shortest", "squash", "longest")
    ]
    assert len({crop.tobytes() for crop in crops}) == 1


def test_interpolation_and_border_are_the_models() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 90, 3), dtype=np.uint8)
    image = Image.fromarray(noise)

    def crop(**changes: object) -> bytes:
        resizing = Resizing((32, 32), **changes)  # type: ignore[arg-type]
        return random_crop(image, resizing, 0.95, np.random.default_rng(3)).tobytes()

    assert crop() != crop(interpolation=Image.Resampling.BILINEAR)
    assert crop(mode="longest") != crop(mode="longest", fill=200)


def test_a_model_says_how_it_resizes() -> None:
    model = from_config(CONFIG)
    assert model.resizing == Resizing((32, 32))
    model.preprocess_cfg |= {"resize_mode": "squash", "interpolation": "bilinear", "fill_color": 9}
    expected = Resizing((32, 32), "squash", Image.Resampling.BILINEAR, 9)
    assert model.resizing == expected
