"""Random crops for training, resized as the model's own transform resizes for evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from carot.data.decoding.resampling import INTERPOLATIONS, Interpolation

Mode = Literal["shortest", "longest", "squash"]
ASPECT = 4 / 3
"""A crop's aspect ratio differs by at most this factor from that of an uncropped image."""


@dataclass(frozen=True)
class RandomCrop:
    """Crops that keep `scale` to 1 of the area, drawn with a generator of the caller's.

    What the area and the aspect ratio are of depends on the model's resize mode, so that pixels
    are distorted by no more than `ASPECT` beyond what evaluation does to them:

    - `shortest`: of the largest part of the image that has the aspect ratio of the model's input;
    - `squash`: of the whole image, which evaluation distorts to the model's input;
    - `longest`: of the whole image, whose aspect ratio is kept; the transform adds the margins.

    The aspect ratio is drawn from those that fit, so that the area is always kept.

    Attributes:
        height, width: of the model's input, in pixels.
        scale: smallest share of the area; 1 for no crop.
    """

    height: int
    width: int
    scale: float
    mode: Mode = "shortest"
    interpolation: Interpolation = "bicubic"

    @classmethod
    def of(
        cls, size: tuple[int, int], scale: float, preprocess_cfg: Mapping[str, Any]
    ) -> RandomCrop:
        """As open_clip's preprocessing configuration asks for it.

        Args:
            size: height and width.
        """
        mode: Any = preprocess_cfg.get("resize_mode") or "shortest"
        # As open_clip: whatever is not bilinear is bicubic.
        bilinear = preprocess_cfg.get("interpolation") == "bilinear"
        return cls(*size, scale, mode, "bilinear" if bilinear else "bicubic")

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """An RGB image, cropped, at the size of the model's input; as it was for a scale of 1."""
        if self.scale >= 1.0:
            return image
        width, height = image.size
        whole_width, whole_height = self._uncropped(width, height)
        area = rng.uniform(self.scale, 1.0)
        # A crop of sides w √(area · aspect) and h √(area / aspect) has to lie within the image.
        widest = min(ASPECT, (width / whole_width) ** 2 / area)
        narrowest = max(1 / ASPECT, area * (whole_height / height) ** 2)
        aspect = float(np.exp(rng.uniform(np.log(narrowest), np.log(widest))))
        crop_width = min(whole_width * np.sqrt(area * aspect), width)
        crop_height = min(whole_height * np.sqrt(area / aspect), height)
        left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
        box = (left, top, left + crop_width, top + crop_height)
        size = self._size(crop_width, crop_height)
        return image.resize(size, INTERPOLATIONS[self.interpolation], box=box)

    def _uncropped(self, width: int, height: int) -> tuple[float, float]:
        """Width and height of what the shares are of."""
        if self.mode != "shortest":
            return width, height
        ratio = min(width / self.width, height / self.height)
        return self.width * ratio, self.height * ratio

    def _size(self, crop_width: float, crop_height: float) -> tuple[int, int]:
        """Width and height to which a crop is resized."""
        if self.mode != "longest":
            return self.width, self.height
        ratio = min(self.width / crop_width, self.height / crop_height)
        return max(1, round(crop_width * ratio)), max(1, round(crop_height * ratio))
