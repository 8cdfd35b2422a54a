"""Random crops for training, out of what a model sees of an image in evaluation.

Models differ in how an image of any shape becomes their square: `shortest` scales the shorter side
and keeps the middle, `squash` stretches, `longest` scales the longer side and fills up. A crop
keeps to the same, or a model would train on pictures stretched in a way that it never meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

INTERPOLATIONS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Resizing:
    """How an image becomes a model's input.

    Attributes:
        size: height and width in pixels.
        fill: the grey level, 0 to 255, beside an image under `longest`.
    """

    size: tuple[int, int]
    mode: Literal["shortest", "longest", "squash"] = "shortest"
    interpolation: Image.Resampling = Image.Resampling.BICUBIC
    fill: int = 0

    @property
    def aspect(self) -> float:
        """Width by height."""
        return self.size[1] / self.size[0]


def random_crop(
    image: Image.Image, resizing: Resizing, scale: float, rng: np.random.Generator
) -> Image.Image:
    """A random crop that keeps `scale` to 1 of the area, resized to the model's size.

    Of what the model sees: under `shortest` of the largest box of the model's shape, which may lie
    anywhere in the image. As torchvision's RandomResizedCrop, but from a generator of its own, and
    with the aspect ratio (3/4 to 4/3 of what the model sees) drawn from those that fit, so that the
    area is always kept.
    """
    if scale >= 1.0:
        return image
    if resizing.mode == "longest":
        image = _filled_up(image, resizing)
    width, height = image.size
    seen_width, seen_height = float(width), float(height)
    if resizing.mode == "shortest":
        seen_width = min(seen_width, height * resizing.aspect)
        seen_height = min(seen_height, width / resizing.aspect)
    area = rng.uniform(scale, 1.0)
    widest = min(4 / 3, 1 / area)
    aspect = float(np.exp(rng.uniform(-np.log(widest), np.log(widest))))
    crop_width = min(seen_width * np.sqrt(area * aspect), width)
    crop_height = min(seen_height * np.sqrt(area / aspect), height)
    left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
    box = (left, top, left + crop_width, top + crop_height)
    return image.resize((resizing.size[1], resizing.size[0]), resizing.interpolation, box=box)


def _filled_up(image: Image.Image, resizing: Resizing) -> Image.Image:
    """The image amid a border that gives it the model's shape."""
    width = max(image.width, round(image.height * resizing.aspect))
    height = max(image.height, round(image.width / resizing.aspect))
    fill = (resizing.fill,) * 3
    return ImageOps.pad(image, (width, height), resizing.interpolation, fill)
